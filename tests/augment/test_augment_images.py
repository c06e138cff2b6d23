"""Augmentations of images: known pixels in known places, pure functions of a key, the dtype kept."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import augment

X = np.arange(1, 1 + 6 * 5 * 4 * 3, dtype=np.float32).reshape(6, 5, 4, 3)
LABELS = np.arange(6)
ALL: dict[str, Callable[..., Any]] = {
    "flip": augment.flip(), "up": augment.flip("vertical"), "crop": augment.crop(2, (3, 4)), "shift": augment.shift(2),
    "rotate": augment.rotate(30), "cutout": augment.cutout((3, 2)), "noise": augment.noise(0.5),
    "mixup": augment.mixup(0.3, classes=6), "cutmix": augment.cutmix(classes=6),
    "composed": augment.compose(augment.flip(), augment.crop(1), augment.noise(1)),
}  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_each_is_a_pure_function_of_the_batch_and_the_key(name: str) -> None:
    change, x = ALL[name], X.copy()
    x.flags.writeable = False
    first, second = (change((x, LABELS), (3, 5)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert any(not np.array_equal(change((x, LABELS), rng)[0], first[0]) for rng in range(5))
    assert first[0].dtype == np.float32
    assert change((X.astype(np.float64), LABELS), 0)[0].dtype == np.float64
    empty = change((X[:0], LABELS[:0]), 0)
    assert [len(part) for part in empty] == [0, 0]
    assert repr(change).startswith("augment.")


@pytest.mark.parametrize("name", ["flip", "up", "crop", "shift", "rotate", "cutout"])
def test_bytes_stay_bytes_and_targets_and_weights_pass_through(name: str) -> None:
    x, weights = X.astype(np.uint8), np.ones(6)
    changed, labels, same = ALL[name]((x, LABELS, weights), 0)
    assert changed.dtype == np.uint8
    assert labels is LABELS
    assert same is weights
    np.testing.assert_array_equal(ALL[name](x, 0), changed)


def test_flip_exchanges_the_sides_of_some_images() -> None:
    changed = augment.flip()(X, 0)
    flipped = [np.array_equal(one, image[:, ::-1]) for one, image in zip(changed, X, strict=True)]
    assert all(f or np.array_equal(one, image) for f, one, image in zip(flipped, changed, X, strict=True))
    assert 0 < sum(flipped) < 6
    np.testing.assert_array_equal(augment.flip("vertical", 1)(X, 0), X[:, ::-1])
    np.testing.assert_array_equal(augment.flip(probability=0)(X, 0), X)
    many = np.broadcast_to(np.arange(2.0)[:, None], (4000, 1, 2, 1))
    assert abs(augment.flip(probability=0.3)(many, 1)[:, 0, 0, 0].mean() - 0.3) < 0.03


def test_crop_takes_every_part_of_the_padded_image() -> None:
    image = X[:1]
    padded = np.pad(image, ((0, 0), (1, 1), (2, 2), (0, 0)))[0]
    parts = {(i, j): padded[i : i + 5, j : j + 3] for i, j in itertools.product(range(3), range(6))}
    seen = set()
    for rng in range(150):
        found = augment.crop((1, 2), (5, 3))(image, rng)[0]
        (place,) = [place for place, part in parts.items() if np.array_equal(found, part)]
        seen.add(place)
    assert seen == set(parts)
    with pytest.raises(
        ValueError, match=r"crop: expected images of at least \(9, 4\) with their padding, got \(5, 4\)"
    ):
        augment.crop(size=(9, 4))(X, 0)


def test_shift_moves_the_image_and_leaves_zeros() -> None:
    seen = set()
    for rng in range(60):
        found = augment.shift(1)(X[:1], rng)[0]
        matches = []
        for u, v in itertools.product((-1, 0, 1), repeat=2):
            moved = np.zeros_like(X[0])
            rows, columns = (range(max(-s, 0), n - max(s, 0)) for s, n in ((u, 5), (v, 4)))
            for i, j in itertools.product(rows, columns):
                moved[i, j] = X[0, i + u, j + v]
            matches += [(u, v)] if np.array_equal(found, moved) else []
        (place,) = matches
        seen.add(place)
    assert len(seen) == 9


def test_rotate_by_a_right_angle_is_exact_and_by_others_interpolates(monkeypatch: pytest.MonkeyPatch) -> None:
    square = X[:, :4]
    angles = np.array([0, 90, 180, -90, 45, 10.0])

    class Draw:
        def uniform(self, low: float, high: float, n: int) -> np.ndarray:
            assert (low, high, n) == (-180, 180, 6)
            return angles

    monkeypatch.setattr("funcnn.augment.parts.generator", lambda rng: Draw())
    found = augment.rotate(180)(square, 0)
    for number, turns in enumerate((0, 1, 2, 3)):
        turned = np.rot90(square[number], turns)
        if not np.allclose(found[number], turned, atol=1e-3):
            turned = np.rot90(square[number], -turns)
        np.testing.assert_allclose(found[number], turned, atol=1e-3)
    # By 45 degrees, the corners come from outside, and the centre of a 3 x 3 image stays.
    ones = np.ones((6, 3, 3, 1))
    ones[:, 1, 1] = 5
    found = augment.rotate(180)(ones, 0)[4, :, :, 0]
    assert found[1, 1] == pytest.approx(5)
    # A corner comes from (1 - sqrt 2, 1): between a zero outside and the pixel in the middle of an edge.
    np.testing.assert_allclose([found[0, 0], found[2, 2]], 2 - np.sqrt(2), atol=1e-9)
    # The middle of an edge comes from a point (1 - sqrt(1/2)) away from both sides of a corner.
    d = np.sqrt(0.5)
    np.testing.assert_allclose(found[0, 1], (1 - d) ** 2 * 5 + (1 - (1 - d) ** 2), atol=1e-9)


def test_cutout_covers_a_rectangle_that_the_border_may_cut() -> None:
    sizes = set()
    for rng in range(60):
        found = augment.cutout((3, 2))(X[:1], rng)[0]
        rows, columns = np.nonzero(found[..., 0] == 0)
        sizes.add((len(set(rows)), len(set(columns))))
        assert len(rows) == len(set(rows)) * len(set(columns))
        assert np.all((found == X[0]) | (found == 0))
    assert sizes == {(3, 2), (2, 2), (3, 1), (2, 1)}


def test_noise_has_its_deviation_and_needs_floats() -> None:
    x = np.full((100, 10, 10, 1), 3, np.float32)
    found = augment.noise(0.5)(x, 0)
    assert abs(found.std() - 0.5) < 0.01
    assert abs(found.mean() - 3) < 0.02
    with pytest.raises(TypeError, match=r"noise: expected x as an array of images.*of floats, got uint8; use x.astype"):
        augment.noise(0.5)(X.astype(np.uint8), 0)


def test_compose_gives_each_part_a_key_of_its_own() -> None:
    both = augment.compose(augment.noise(1), augment.noise(1))(X, 7)
    np.testing.assert_array_equal(both, augment.noise(1)(augment.noise(1)(X, (7, 0)), (7, 1)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: augment.flip("left"), ValueError, "flip: direction must be 'horizontal' or 'vertical', got 'left'"),
        (lambda: augment.flip(probability=1.5), ValueError, "flip: probability must be a number in [0, 1], got 1.5"),
        (lambda: augment.flip(probability="a"), TypeError, "flip: probability: expected a number, got 'a'"),
        (lambda: augment.crop(-1), ValueError, "crop: padding must be a whole number >= 0 or a pair"),
        (lambda: augment.shift(1.5), ValueError, "shift: pixels must be a whole number >= 0 or a pair"),
        (lambda: augment.rotate(200), ValueError, "rotate: degrees must be at most 180, got 200"),
        (lambda: augment.rotate(-1), ValueError, "rotate: degrees must be a number >= 0, got -1"),
        (lambda: augment.cutout(0), ValueError, "cutout: size must be a whole number >= 1 or a pair"),
        (lambda: augment.noise(np.nan), ValueError, "noise: std must be a number >= 0, got nan"),
        (lambda: augment.flip()({"image": X}, 0), TypeError, "got a dict of ['image']; write a function of the batch"),
        (lambda: augment.flip()(X[0], 0), ValueError, "got shape (5, 4, 3); of one image, use x[None]"),
        (lambda: augment.flip()([X], 0), TypeError, "flip: expected x as an array of images"),
        (lambda: augment.flip()(X, "a"), TypeError, "a key is an int, a tuple of ints"),
        (lambda: augment.compose(augment.flip), TypeError, "compose: augmentation 0"),
        (lambda: fn.batches(X, 2, augment=augment.flip()), ValueError, "batches: augment needs rng"),
        (lambda: fn.batches(X, 2, rng=0, augment=augment.flip), TypeError, "batches: augment: expected a function"),
        (lambda: fn.batches(X, 2, workers=-1), ValueError, "batches: workers must be a whole number >= 0, got -1"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(call: Callable[[], Any], error: type, message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
