"""A small model with the decoding interface, whose probabilities are plain functions of the output so far."""

import torch


class FakeState:
    def __init__(self, source, beams):
        self.source = source  # B
        self.prefix = torch.zeros(len(source), beams, 0, dtype=torch.long)
        self.calls = []

    @property
    def device(self):
        return self.source.device

    @property
    def position(self):
        return self.prefix.shape[2]

    def reorder(self, parents):
        assert parents.shape == self.prefix.shape[:2]
        self.prefix = self.prefix.gather(1, parents[:, :, None].expand_as(self.prefix))

    def select(self, sentences):
        self.calls.append(len(sentences))
        self.source, self.prefix = self.source[sentences], self.prefix[sentences]


class FakeModel(torch.nn.Module):
    """Logits depend on the first source token, on the last two tokens of the output and on its length.

    The "features" of a position are the index of its row in a random table of logits.
    """

    def __init__(self, vocab=8, seed=0, positions=128, contexts=97, scale=2.0):
        super().__init__()
        self.table = torch.randn(contexts, vocab, generator=torch.Generator().manual_seed(seed)) * scale
        self.contexts, self.positions = contexts, positions
        self.encoder, self.decoder = FakeEncoder(), FakeDecoder(self)

    def max_decoder_positions(self):
        return self.positions

    def row(self, source, prefix):
        """Row of the table after ``prefix`` (..., t), with <s>."""
        last, before = prefix[..., -1], prefix[..., -2] if prefix.shape[-1] > 1 else 0
        return (source * 31 + last * 7 + before * 3 + prefix.shape[-1]) % self.contexts

    def log_probs(self, source, prefix):
        """(V,) for one source token and one output so far (list, without <s>)."""
        return self.table[self.row(source, torch.tensor([0, *prefix]))].log_softmax(-1)


class FakeEncoder:
    calls = 0

    def __call__(self, src_tokens, src_lengths, **images):
        self.calls += 1
        return {"encoder_out": [src_tokens[:, 0]]}

    def reorder_encoder_out(self, encoder_out, order):
        return {"encoder_out": [encoder_out["encoder_out"][0][order]]}


class FakeDecoder:
    def __init__(self, model):
        self.table, self.row = model.table, model.row
        self.states, self.head_sizes, self.tree_sizes = [], [], []

    def start(self, encoder_out, *, beams, max_length):
        self.states.append(FakeState(encoder_out["encoder_out"][0], beams))
        self.max_length = max_length
        return self.states[-1]

    def step(self, tokens, state):
        start = state.position
        state.prefix = torch.cat([state.prefix, tokens], dim=2)
        assert state.position <= self.max_length
        source = state.source[:, None]
        rows = [self.row(source, state.prefix[:, :, : end + 1]) for end in range(start, state.position)]
        return torch.stack(rows, dim=2)[..., None]  # B, K, T, 1

    def read_trees(self, tokens, parents, state, sentences):
        self.tree_sizes.append(tokens.shape)
        rows = torch.empty_like(tokens)
        for tree, source in enumerate(state.source[sentences]):
            for node in range(tokens.shape[1]):
                place = node
                prefix = [tokens[tree, place]]
                while place != parents[tree, place]:
                    place = parents[tree, place]
                    prefix.insert(0, tokens[tree, place])
                rows[tree, node] = self.row(source, torch.stack(prefix))
        return rows[..., None]  # B', N, 1

    def head(self, ids=None):
        self.head_sizes.append(self.table.shape[-1] if ids is None else len(ids))

        def logits(features):
            rows = self.table[features[..., 0]].float()
            return rows if ids is None else rows[..., ids]

        return logits


def net_input(sources):
    tokens = torch.tensor([[source, 2] for source in sources])
    return {"src_tokens": tokens, "src_lengths": torch.full((len(sources),), 2)}
