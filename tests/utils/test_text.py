from ofa_mi.utils.text import split_list


def test_split_list_drops_empty_parts():
    assert split_list("a,,b,") == ["a", "b"] and split_list(None) == [] and split_list("a:b", ":") == ["a", "b"]
