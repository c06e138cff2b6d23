"""Networks of PyTorch, as people write them, that are exported to files of ONNX."""

import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """Two convolutions with norms around a shortcut, which is a convolution where the size changes."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(filters)
        self.down = nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))
        self.changes = stride != 1 or channels != filters

    def forward(self, x: Any) -> Any:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + (self.down(x) if self.changes else x))


def residual() -> nn.Module:
    stem = [nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(
        *stem, Block(8, 8, 1), Block(8, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)
    )


class Inverted(nn.Module):
    """The block of MobileNetV2."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        hidden = 2 * channels
        self.body = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, filters, 1, bias=False), nn.BatchNorm2d(filters),
        )  # fmt: skip
        self.adds = stride == 1 and channels == filters

    def forward(self, x: Any) -> Any:
        return x + self.body(x) if self.adds else self.body(x)


class Mobile(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Hardswish(), Inverted(8, 8, 1), Inverted(8, 12, 2))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(12, 5))

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x).mean([2, 3]))


class UNet(nn.Module):
    """Down by pooling, up by a transposed convolution and by interpolation, with shortcuts side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (
            nn.Conv2d(1, 4, 3, padding=1),
            nn.Conv2d(4, 8, 3, padding=1),
            nn.Conv2d(8, 8, 3, padding=1),
        )
        self.up, self.d, self.e = nn.ConvTranspose2d(8, 8, 2, 2), nn.Conv2d(16, 8, 3, padding=1), nn.Conv2d(12, 2, 1)

    def forward(self, x: Any) -> Any:
        a = F.relu(self.a(x))
        b = F.relu(self.b(F.max_pool2d(a, 2)))
        c = F.leaky_relu(self.c(F.max_pool2d(b, 2)), 0.1)
        d = F.relu(self.d(torch.cat([self.up(c), b], 1)))
        wide = F.interpolate(d, scale_factor=2, mode="bilinear", align_corners=True)
        return torch.sigmoid(self.e(torch.cat([wide, a], 1)))


class Transformer(nn.Module):
    """PyTorch's own encoder layers on tokens, as a language model."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.places, self.head = (
            nn.Embedding(11, 16),
            nn.Parameter(torch.randn(6, 16) * 0.1),
            nn.Linear(16, 11),
        )
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu", norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(6))

    def forward(self, x: Any) -> Any:
        return self.head(self.body(self.embed(x) + self.places, mask=self.mask, is_causal=True))


class Attention(nn.Module):
    """Attention written by hand, with a mask of the keys that comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.out, self.norm = nn.Linear(8, 24), nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x: Any, mask: Any) -> Any:
        batch, time, width = x.shape
        q, k, v = (a.view(batch, time, 2, width // 2).transpose(1, 2) for a in self.project(self.norm(x)).chunk(3, -1))
        scores = q @ k.transpose(-2, -1) / (width // 2) ** 0.5
        weights = scores.masked_fill(~mask[:, None, None, :], -1e9).softmax(-1)
        return x + self.out((weights @ v).transpose(1, 2).reshape(batch, time, width))


class Recurrent(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.body, self.head = getattr(nn, kind)(3, 5, 2, batch_first=True, bidirectional=True), nn.Linear(10, 2)

    def forward(self, x: Any) -> Any:
        y, state = self.body(x)
        h = state[0] if isinstance(state, tuple) else state
        return self.head(y[:, -1]) + h[-1].sum(-1, keepdim=True)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(2, 4), nn.Linear(4, 2)

    def forward(self, image: Any, table: Any) -> Any:
        h = torch.tanh(self.a(image) * torch.sigmoid(self.b(table)))
        return self.c(h), torch.log_softmax(h - h.mean(-1, keepdim=True), -1)


def exported(
    path: Path,
    model: nn.Module,
    x: tuple[Any, ...],
    dynamo: bool = False,
    fixed: bool = False,
    names: Any = ("x",),
    outputs: Any = ("y",),
    **options: Any,
) -> None:
    """Write a file, with open batches unless they are fixed."""
    model.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = None if fixed else tuple({0: torch.export.Dim("batch")} for _ in x)
            torch.onnx.export(
                model,
                x,
                path,
                input_names=names,
                output_names=outputs,
                dynamo=True,
                dynamic_shapes=shapes,
                verbose=False,
                **options,
            )
        else:
            axes = {} if fixed else {name: {0: "batch"} for name in (*names, *outputs)}
            torch.onnx.export(
                model,
                x,
                path,
                input_names=names,
                output_names=outputs,
                dynamo=False,
                dynamic_axes=axes,
                **options,
            )
