"""The parts of a Llama layer between its matrix products, each with its backward: RMSNorm, rotation, SwiGLU.

Backwards compute again what the forward did not keep, and add in place to what flows past them.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import Tensor


def normalise(x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """RMSNorm (arXiv:1910.07467): weight · x / rms(x); without the weight; and 1 / rms(x) (N, 1)."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    inverse = length.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
    unit = x * inverse
    return unit * weight, unit, inverse


def normalise_backward(total: Tensor, by_normed: Tensor, unit: Tensor, inverse: Tensor, weight: Tensor) -> Tensor:
    """total += the gradient by x, (g - u · mean(g · u)) / rms with g = weight · by_normed and u the unit vectors;
    returned is the gradient by the weight."""
    by_normed = by_normed.to(unit.dtype)
    product = by_normed * unit
    along = (product @ weight.to(unit.dtype)).div_(-unit.shape[-1])[:, None]
    total.addcmul_((by_normed * weight).addcmul_(unit, along), inverse)
    return product.sum(dim=0)


def turn(plain: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """out = plain (N, T, D), every head rotated by its token's position: cos, sin (N, D). arXiv:2104.09864."""
    wide, half = plain.to(cos.dtype), plain.shape[-1] // 2
    cos, sin = cos[:, None], sin[:, None]
    turned = torch.mul(wide, cos, out=out) if out.dtype == cos.dtype else wide * cos
    turned[..., :half].addcmul_(wide[..., half:], sin[..., :half], value=-1)
    turned[..., half:].addcmul_(wide[..., :half], sin[..., half:])
    if turned is not out:
        out.copy_(turned)


def turn_back(turned: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The gradient by `plain` from that by what `turn` made of it: the rotation the other way."""
    half = turned.shape[-1] // 2
    cos, sin = cos[:, None], sin[:, None]
    plain = turned * cos
    plain[..., :half].addcmul_(turned[..., half:], sin[..., half:])
    plain[..., half:].addcmul_(turned[..., :half], sin[..., :half], value=-1)
    return plain


def gated(inner: Tensor) -> Tensor:
    """silu(gate) · up, the two halves of (N, 2 I)."""
    gate, up = inner.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)


def gated_backward(by_gated: Tensor, inner: Tensor) -> tuple[Tensor, Tensor]:
    """`gated(inner)` again, and the gradient by inner."""
    gate, up = inner.chunk(2, dim=-1)
    by_inner = torch.empty_like(inner)
    by_gate, by_up = by_inner.chunk(2, dim=-1)
    opened = F.silu(gate)
    torch.mul(opened, by_gated, out=by_up)
    torch.ops.aten.silu_backward.grad_input(by_gated * up, gate, grad_input=by_gate)
    return opened.mul_(up), by_inner
