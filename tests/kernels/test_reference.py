"""The plain forms are what they stand for: same names, same arguments."""

import inspect

import pytest

from ofa_mi import kernels


@pytest.mark.parametrize("name", kernels.reference.__all__)
def test_takes_the_same_arguments(name):
    chosen, plain = (inspect.signature(getattr(module, name)) for module in (kernels, kernels.reference))
    assert chosen.parameters.keys() == plain.parameters.keys()
    for parameter in chosen.parameters:
        one, other = chosen.parameters[parameter], plain.parameters[parameter]
        assert (one.kind, one.default) == (other.kind, other.default)
