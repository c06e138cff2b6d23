"""A custom layer: ten lines, checked alone, then trained as part of a model.

    python examples/custom_layer.py

The layer is snake, y = x + sin(a x)^2 / a with a learned a for each channel (Ziyin et al. 2020, arXiv 2006.08195):
unlike relu it can extrapolate a periodic function beyond the data. ``per_example=True`` declares that it computes each
example by itself, so that a large batch may be cut into microbatches; ``check_layer`` checks this too.
"""

import numpy as np

import funcnn as fn


@fn.layer(per_example=True)
def snake(start=1.0):
    """y = x + sin(a x)^2 / a, per channel."""

    def init(shape, rng):
        return {"a": np.full(shape[-1:], start, np.float32)}

    def apply(params, x):
        a, sine, double = params["a"], np.sin(params["a"] * x), np.sin(2 * params["a"] * x)

        def vjp_fn(dy):
            da = dy * (x * double - sine**2 / a) / a
            return {"a": da.sum(tuple(range(x.ndim - 1)))}, dy * (1 + double)

        return x + sine**2 / a, vjp_fn

    return init, apply


print(fn.testing.check_layer(snake(1.5), shape=(4,)))

x = np.linspace(-4, 4, 256, dtype=np.float32)[:, None]
target = np.sin(3 * x) + x / 2
model = fn.serial(fn.dense(32), snake(2.0), fn.dense(32), snake(2.0), fn.dense(1))
params = model.init((1,), rng=0)
optimizer = fn.adam(fn.cosine_decay(1e-2, steps=3200))

print()
result = fn.fit(
    model, params, optimizer, (x, target), fn.mean_squared_error, epochs=400, batch_size=32, evaluate_every=100
)
print(f"a of the first snake went from 2.00 to {result.params['snake_0']['a'].min():.2f} and more,", end=" ")
print(f"up to {result.params['snake_0']['a'].max():.2f}")
