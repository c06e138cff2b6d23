def calibrate(model: Any, params: Params, x: Array) -> Params:
    """Measure what the layers of a model predict with: the mean and variance that each ``batch_norm`` meets.

    Layer by layer, each one fed by the layers before it as they will predict.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: (batch, *shape), a thousand or a few thousand training examples.

    Returns:
        The parameters with ``mean`` and ``var`` measured; all others are the same arrays.

    Raises:
        ValueError: ``x`` holds no example.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.serial(fn.batch_norm())
        >>> params = model.init((1,), rng=0)
        >>> calibrate(model, params, np.array([[1.0], [3.0]], np.float32))["batch_norm_0"]["mean"]
        array([2.], dtype=float32)

    Reference:
        Ioffe & Szegedy 2015, arXiv 1502.03167, algorithm 2; Wu & Johnson 2021, arXiv 2105.07576, section 3.
    """
    if not len(x):
        raise ValueError("calibrate: expected some examples to measure, got none")
    measuring_layers: list[str] = []
    measured: dict[str, Array] = {}

    def measuring(path: str, layer: Layer) -> Layer:
        measure = layer.measure
        if measure is None:
            return layer
        measuring_layers.append(path)

        def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
            own = measure(params, x)
            measured.update({f"{path}/{name}" if path else name: leaf for name, leaf in own.items()})
            return layer.apply(own, x)

        return watched(layer, apply)

    rebuilt = rebuild(model, measuring)
    if not measuring_layers:
        return params
    rebuilt.apply(params, x)
    calibrated: Params = tree.map_with_path(lambda path, leaf: measured.get(path, leaf), params)
    return calibrated
