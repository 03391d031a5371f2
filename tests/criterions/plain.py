"""The loss step by step, with autograd's gradient and as many tensors as it takes."""

import torch
import torch.nn.functional as F

from ofa_mi.criterions.loss import TokenLoss


def plain_loss(logits, target, *, epsilon, mask=None, confidence=None, pairs=False):
    """What :func:`ofa_mi.criterions.loss.token_loss` computes."""
    logits = logits.float()
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    log_probs = F.log_softmax(logits, dim=-1)
    if confidence is not None:
        log_probs = log_probs * confidence[:, None]
    nll = -log_probs.gather(1, target[:, None]).squeeze(1)
    loss = nll
    if epsilon:
        if mask is None:
            smooth, eps_i = -log_probs.sum(dim=1), epsilon / (log_probs.size(1) - 1)
        else:
            smooth = -log_probs.masked_fill(~mask, 0).sum(dim=1)
            eps_i = epsilon / (mask.sum(dim=1) - 1 + 1e-6)
        loss = (1 - epsilon - eps_i) * nll + eps_i * smooth
    divergence = torch.stack([symmetric_kl(p, q) for p, q in zip(*log_probs.chunk(2), strict=True)]) if pairs else None
    return TokenLoss(loss, nll, log_probs.argmax(dim=1), divergence)


def symmetric_kl(log_p, log_q):
    """``(KL(p || q) + KL(q || p)) / 2``, summed over rows; -inf where not allowed."""
    allowed = log_p.isfinite() & log_q.isfinite()
    log_p, log_q = log_p.masked_fill(~allowed, 0), log_q.masked_fill(~allowed, 0)
    difference = (log_p.exp() - log_q.exp()) * (log_p - log_q)
    return difference.masked_fill(~allowed, 0).sum() / 2
