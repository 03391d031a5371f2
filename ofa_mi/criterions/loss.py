"""OFA's training loss as plain functions of logits; no fairseq here.

All functions work on *rows*: one row of logits ``(N, V)`` per target token that counts, padding
already removed. Formulas: the OFA paper (arXiv 2202.03052) and the behaviour of its release;
R-Drop: arXiv 2106.14448.

A vocabulary of 59,457 makes logits one of the largest tensors of a step, so there is only one of
them: losses are computed a few rows at a time, and their gradient is written where the logits were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Values of logits at a time: what a core's cache holds, or what keeps a GPU busy.
AT_ONCE = {"cpu": 2**17, "cuda": 2**25}


@dataclass
class TokenLoss:
    """Loss of each target token.

    Attributes:
        loss: Label-smoothed loss, ``(N,)``.
        nll: Negative log-likelihood of the target, ``(N,)``; without a gradient.
        best: Token with the highest probability, ``(N,)``.
        divergence: With ``pairs``, that of each pair, ``(N / 2,)``, else None; see :func:`token_loss`.
    """

    loss: Tensor
    nll: Tensor
    best: Tensor
    divergence: Tensor | None


def allowed_mask(allowed: Tensor, vocabulary_size: int) -> Tensor:
    """Boolean mask over the vocabulary from lists of allowed tokens.

    Args:
        allowed: Token ids ``(N, A)``, filled up with -1; a row of -1 only is unrestricted.
        vocabulary_size: V.

    Returns:
        ``(N, V)``, True where a token may be chosen.
    """
    mask = torch.zeros(allowed.size(0), vocabulary_size + 1, dtype=torch.bool, device=allowed.device)
    mask.scatter_(1, allowed.masked_fill(allowed < 0, vocabulary_size), True)  # the extra column takes the filling
    mask = mask[:, :vocabulary_size]  # N, V
    return mask | (allowed < 0).all(dim=1, keepdim=True)


def token_loss(
    logits: Tensor,
    target: Tensor,
    *,
    epsilon: float,
    mask: Tensor | None = None,
    allowed: Tensor | None = None,
    confidence: Tensor | None = None,
    pairs: bool = False,
) -> TokenLoss:
    """Label-smoothed cross-entropy of each row, optionally over a set of allowed tokens only.

    With ``eps_i = epsilon / (|allowed| - 1)`` the loss of a row is
    ``(1 - epsilon - eps_i) * nll + eps_i * sum(-log p over the allowed tokens)``. As in OFA the
    denominator is ``|allowed| - 1 + 1e-6`` when ``mask`` restricts the choice, so that a row with
    one allowed token stays finite.

    With ``pairs`` rows i and i + N / 2 are two passes over one token, p and q, and the divergence
    is ``(KL(p || q) + KL(q || p)) / 2``, over the tokens that both allow.

    Args:
        logits: ``(N, V)``, any floating type; computed in fp32. The backward pass writes the
            gradient over them, so that nothing else may need them then; a leaf stays as it is.
        target: Token ids ``(N,)``.
        epsilon: Amount of label smoothing, in [0, 1).
        mask: ``(N, V)``, True where a token is allowed; None allows all.
        allowed: In its place, lists of the allowed tokens, as :func:`allowed_mask` takes them.
        confidence: Weight of each row's log-probabilities, ``(N,)``.
        pairs: Also compute the divergence.
    """
    rows = _Rows(target, epsilon, mask, allowed, confidence)
    loss, nll, best, divergence = _TokenLoss.apply(logits, rows, pairs)
    return TokenLoss(loss, nll, best, divergence if pairs else None)


@dataclass
class _Rows:
    """What belongs to the rows of logits; arguments as those of :func:`token_loss`."""

    target: Tensor
    epsilon: float
    mask: Tensor | None
    allowed: Tensor | None
    confidence: Tensor | None

    def of(self, rows: slice) -> _Rows:
        """Some of them."""
        mask, allowed, confidence = (None if t is None else t[rows] for t in (self.mask, self.allowed, self.confidence))
        return _Rows(self.target[rows], self.epsilon, mask, allowed, confidence)

    def masked(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits in fp32, those not allowed -inf, and the mask; in the caller's memory only if they are fp32."""
        mask = self.mask if self.allowed is None else allowed_mask(self.allowed, logits.size(1))
        logits = logits.float()
        return (logits if mask is None else logits.masked_fill(~mask, -torch.inf)), mask

    def smoothing(self, mask: Tensor | None, vocabulary_size: int) -> Tensor | float:
        """``eps_i``, one for all rows or ``(N, 1)``."""
        if mask is None:
            return self.epsilon / (vocabulary_size - 1)
        return self.epsilon / (mask.sum(dim=1, keepdim=True) - 1 + 1e-6)

    def weighted(self, log_probs: Tensor) -> Tensor:
        """Log-probabilities times confidence."""
        return log_probs if self.confidence is None else log_probs * self.confidence[:, None]


def _chunks(logits: Tensor, count: int) -> Iterator[slice]:
    """Slices of ``count`` rows, few enough for the cache."""
    size = max(1, AT_ONCE["cpu" if logits.device.type == "cpu" else "cuda"] // logits.size(1))
    return (slice(first, min(first + size, count)) for first in range(0, count, size))


def _log_probs(logits: Tensor, rows: _Rows) -> tuple[Tensor, Tensor | None]:
    """Weighted log-probabilities in fp32, and the mask."""
    logits, mask = rows.masked(logits)
    return rows.weighted(logits.log_softmax(dim=1)), mask


class _TokenLoss(torch.autograd.Function):
    """Losses a few rows at a time; of the forward pass only the logits are kept."""

    @staticmethod
    def forward(ctx, logits, rows, pairs):
        ctx.rows, ctx.pairs, ctx.leaf = rows, pairs, logits.is_leaf
        ctx.save_for_backward(logits)
        ctx.set_materialize_grads(False)
        count = len(logits)
        loss, nll = (logits.new_empty(count, dtype=torch.float32) for _ in range(2))
        best = rows.target.new_empty(count)
        half = count // 2 if pairs else 0
        divergence = logits.new_empty(half, dtype=torch.float32)
        for chunk in _chunks(logits, half or count):
            found = [_forward(logits[c], rows.of(c)) for c in _both(chunk, half)]
            for c, values in zip(_both(chunk, half), found, strict=True):
                loss[c], nll[c], best[c] = values[1:]
            if pairs:
                divergence[chunk] = _divergence(*(log_probs for log_probs, *_ in found))
        ctx.mark_non_differentiable(nll, best)
        return loss, nll, best, divergence

    @staticmethod
    @once_differentiable
    def backward(ctx, d_loss, _nll, _best, d_divergence):
        (logits,) = ctx.saved_tensors
        out = torch.empty_like(logits) if ctx.leaf else logits
        half = len(logits) // 2 if ctx.pairs else 0
        for chunk in _chunks(logits, half or len(logits)):
            places = _both(chunk, half)
            gradients = _gradients(
                [logits[c] for c in places],
                [ctx.rows.of(c) for c in places],
                [None if d_loss is None else d_loss[c, None] for c in places],
                None if d_divergence is None or not half else d_divergence[chunk, None],
            )
            for c, gradient in zip(places, gradients, strict=True):
                out[c] = gradient
        return out, None, None


def _both(chunk: slice, half: int) -> list[slice]:
    """The rows, and with pairs their partners."""
    return [chunk, slice(chunk.start + half, chunk.stop + half)] if half else [chunk]


def _forward(logits: Tensor, rows: _Rows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probabilities, loss, nll and best token."""
    log_probs, mask = _log_probs(logits, rows)
    nll = -log_probs.gather(1, rows.target[:, None])  # N, 1
    loss = nll
    if rows.epsilon:
        smooth = -(log_probs if mask is None else log_probs.masked_fill(~mask, 0)).sum(dim=1, keepdim=True)
        eps_i = rows.smoothing(mask, logits.size(1))
        loss = (1 - rows.epsilon - eps_i) * nll + eps_i * smooth
    return log_probs, loss[:, 0], nll[:, 0], log_probs.argmax(dim=1)


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """``(KL(p || q) + KL(q || p)) / 2`` of each row; both ``(N, V)``, -inf where not allowed."""
    allowed = log_p.isfinite() & log_q.isfinite()
    difference = (log_p.exp() - log_q.exp()) * (log_p - log_q)
    return difference.masked_fill(~allowed, 0).sum(dim=1) / 2


def _gradients(
    logits: list[Tensor], rows: list[_Rows], d_losses: list[Tensor | None], d_divergence: Tensor | None
) -> list[Tensor]:
    """Gradients of logits, of one pass or of two; the incoming ones are ``(N, 1)`` each.

    With log-probabilities ``l = c * log_softmax(z)`` of confidence c, a gradient d of l is
    ``c * (d - softmax(z) * sum(d))`` of z. Of the loss, ``d`` is ``-eps_i`` at allowed tokens, and
    ``-(1 - epsilon - eps_i)`` more at the target.
    """
    found = []
    log_probs = []
    for z, one, d_loss in zip(logits, rows, d_losses, strict=True):
        masked, mask = one.masked(z)
        plain = masked.log_softmax(dim=1)
        log_probs.append(one.weighted(plain))
        found.append((plain.exp(), mask, one, d_loss))
    if d_divergence is None:
        extras: Sequence[Tensor | None] = [None] * len(logits)
    else:
        extras = _divergence_gradients(log_probs[0], log_probs[1], d_divergence)
    return [
        _gradient(probs, mask, one, d_loss, extra)
        for (probs, mask, one, d_loss), extra in zip(found, extras, strict=True)
    ]


def _gradient(probs: Tensor, mask: Tensor | None, rows: _Rows, d_loss: Tensor | None, extra: Tensor | None) -> Tensor:
    """Gradient of logits, in the memory of ``probs`` (N, V); ``extra`` is a further gradient of log-probabilities."""
    confidence = 1.0 if rows.confidence is None else rows.confidence[:, None]
    total = 0.0 if extra is None else extra.sum(dim=1, keepdim=True)
    if d_loss is not None:
        eps_i = rows.smoothing(mask, probs.size(1)) if rows.epsilon else 0.0
        of_others = -eps_i * d_loss
        of_target = -(1 - rows.epsilon - eps_i) * d_loss + of_others
        others = (probs.size(1) if mask is None else mask.sum(dim=1, keepdim=True)) - 1
        total = total + of_target + of_others * others
    gradient = probs.mul_(-confidence * total)
    if d_loss is not None:
        # The target is apart: its parts are as large as 1e6 * epsilon where it alone is allowed, and must cancel.
        at_target = gradient.gather(1, rows.target[:, None]) + confidence * of_target
        if rows.epsilon:
            gradient += confidence * of_others if mask is None else mask * (confidence * of_others)
        gradient.scatter_(1, rows.target[:, None], at_target)
    return gradient if extra is None else gradient.add_(extra * confidence)


def _divergence_gradients(log_p: Tensor, log_q: Tensor, d_divergence: Tensor) -> list[Tensor]:
    """Gradients of both rows' log-probabilities, 0 where not allowed."""
    forbidden = ~(log_p.isfinite() & log_q.isfinite())
    p, q = log_p.exp(), log_q.exp()
    ratio, apart = (log_p - log_q).masked_fill_(forbidden, 0), p - q
    half = d_divergence / 2
    return [
        (p * ratio + apart).masked_fill_(forbidden, 0) * half,
        (-q * ratio - apart).masked_fill_(forbidden, 0) * half,
    ]


def keep_lowest(loss: Tensor, drop_ratio: float) -> Tensor:
    """Indices of the rows that remain when the ``drop_ratio`` with the highest loss are dropped."""
    keep = int(loss.numel() * (1 - drop_ratio))
    return torch.topk(loss, k=keep, largest=False).indices
