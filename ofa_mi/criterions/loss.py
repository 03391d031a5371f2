"""OFA's training loss as plain functions of logits; no fairseq here.

All functions work on *rows*: one row of logits ``(N, V)`` per target token that counts, padding
already removed. Formulas: the OFA paper (arXiv 2202.03052) and the behaviour of its release;
R-Drop: arXiv 2106.14448.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass
class TokenLoss:
    """Loss of each target token.

    Attributes:
        loss: Label-smoothed loss, ``(N,)``.
        nll: Negative log-likelihood of the target, ``(N,)``.
        log_probs: Log-probabilities, ``(N, V)``; ``-inf`` for tokens that are not allowed.
    """

    loss: Tensor
    nll: Tensor
    log_probs: Tensor


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
    confidence: Tensor | None = None,
) -> TokenLoss:
    """Label-smoothed cross-entropy of each row, optionally over a set of allowed tokens only.

    With ``eps_i = epsilon / (|allowed| - 1)`` the loss of a row is
    ``(1 - epsilon - eps_i) * nll + eps_i * sum(-log p over the allowed tokens)``. As in OFA the
    denominator is ``|allowed| - 1 + 1e-6`` when ``mask`` restricts the choice, so that a row with
    one allowed token stays finite.

    Args:
        logits: ``(N, V)``, any floating type; computed in fp32.
        target: Token ids ``(N,)``.
        epsilon: Amount of label smoothing, in [0, 1).
        mask: ``(N, V)``, True where a token is allowed; None allows all.
        confidence: Weight of each row's log-probabilities, ``(N,)``.
    """
    logits = logits.float()
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    log_probs = F.log_softmax(logits, dim=-1)
    if confidence is not None:
        log_probs = log_probs * confidence[:, None]
    nll = -log_probs.gather(1, target[:, None]).squeeze(1)
    if epsilon == 0:
        return TokenLoss(nll, nll, log_probs)
    if mask is None:
        smooth, eps_i = -log_probs.sum(dim=1), epsilon / (log_probs.size(1) - 1)
    else:
        smooth = -log_probs.masked_fill(~mask, 0).sum(dim=1)
        eps_i = epsilon / (mask.sum(dim=1) - 1 + 1e-6)
    return TokenLoss((1 - epsilon - eps_i) * nll + eps_i * smooth, nll, log_probs)


def keep_lowest(loss: Tensor, drop_ratio: float) -> Tensor:
    """Indices of the rows that remain when the ``drop_ratio`` with the highest loss are dropped."""
    keep = int(loss.numel() * (1 - drop_ratio))
    return torch.topk(loss, k=keep, largest=False).indices


def symmetric_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """``(KL(p || q) + KL(q || p)) / 2``, summed over rows; both ``(N, V)``, -inf where not allowed."""
    allowed = log_p.isfinite() & log_q.isfinite()
    log_p, log_q = log_p.masked_fill(~allowed, 0), log_q.masked_fill(~allowed, 0)
    difference = (log_p.exp() - log_q.exp()) * (log_p - log_q)
    return difference.masked_fill(~allowed, 0).sum() / 2
