"""The words of Keras, PyTorch and scikit-learn, and the names of the same things in funcnn.

A message that knows both says what to write: ``adam(lr=...)`` names ``rate``, ``model.fit`` names ``fn.fit``, and the
loss ``"mse"`` names ``fn.mean_squared_error``.
"""

import difflib
import importlib
import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Any

__all__ = ["explain_names", "is_foreign", "keyword", "name", "no_attribute", "not_called"]

KEYWORDS = {
    ("lr", "learning_rate", "initial_learning_rate", "max_lr", "eta0", "p", "drop_prob"): "rate",
    ("beta_1", "beta1", "betas"): "b1",
    ("beta_2", "beta2"): "b2",
    ("epsilon", "epsilon_"): "eps",
    ("alpha", "rho"): "decay",
    ("wd", "decay", "l2"): "weight_decay",
    ("gamma", "decay_rate"): "factor",
    ("step_size", "period", "save_freq", "save_every"): "every",
    ("T_max", "decay_steps", "total_steps", "warmup_steps", "num_steps"): "steps",
    ("eta_min", "end_learning_rate"): "final",
    ("out_features", "output_dim", "hidden_size", "features", "neurons"): "units",
    ("out_channels", "channels"): "filters",
    ("kernel_size", "filter_size"): "kernel",
    ("pool_size", "kernel_size", "size"): "window",
    ("output_size", "image_size"): "pixels",
    ("kernel_size", "kernel", "output_size"): "size",
    ("norm_type",): "p",
    ("count_include_pad",): "count_padding",
    ("strides",): "stride",
    ("dilation_rate",): "dilation",
    ("use_bias",): "bias",
    ("padding_mode",): "pad_mode",
    ("kernel_initializer", "weight_init", "kernel_init", "init"): "w_init",
    ("bias_initializer", "bias_init"): "b_init",
    ("act", "nonlinearity"): "activation",
    ("negative_slope", "alpha", "init", "alpha_initializer"): "slope",
    ("num_parameters", "shared_axes"): "shared",
    ("min_val", "min_value"): "low",
    ("max_val", "max_value"): "high",
    ("scale_factor", "upscale_factor", "downscale_factor", "upscale", "block_size"): "factor",
    ("output_size", "target_size"): "size",
    ("interpolation",): "mode",
    ("dims", "perm", "order", "permutation"): "axes",
    ("dim",): "axis",
    ("cropping", "pad_width", "padding"): "widths",
    ("stddev", "sigma"): "std",
    ("std", "sigma"): "stddev",
    ("num_groups",): "groups",
    ("epsilon", "variance_epsilon"): "eps",
    ("normalized_shape",): "axes",
    ("elementwise_affine",): "scale",
    ("drop_prob", "drop_rate", "p"): "rate",
    ("n_power_iterations", "power_iterations"): "iterations",
    ("clipvalue", "clip_value", "lambd"): "limit",
    ("clipnorm", "global_clipnorm", "norm"): "max_norm",
    ("validation_data", "val_data", "valid", "val", "eval_set"): "validation",
    ("val_split", "validation_fraction"): "validation_split",
    ("num_epochs", "n_epochs", "nb_epoch", "max_epochs", "max_iter"): "epochs",
    ("bs", "batch", "batchsize", "per_device_batch_size"): "batch_size",
    ("seed", "random_state", "key", "shuffle", "generator"): "rng",
    ("criterion", "loss_fn", "loss_function", "objective"): "loss",
    ("opt", "optim"): "optimizer",
    ("net", "network", "module"): "model",
    ("x", "dataset", "train_data", "data", "train_loader", "dataloader"): "train",
    ("x", "y", "dataset", "dataloader"): "data",
    ("initial_epoch",): "start",
    ("verbosity",): "verbose",
    ("callback", "hooks"): "callbacks",
    ("resume_from_checkpoint", "ckpt_path"): "resume",
    ("metric", "scoring"): "metrics",
    ("monitor",): "metric",
    ("filepath", "dirpath", "dirname"): "folder",
    ("filename", "filepath", "file", "fname"): "path",
    ("test_size",): "fraction",
    ("n_splits", "k", "cv"): "folds",
    ("y_true", "labels", "label", "targets", "true", "truth"): "target",
    ("y_pred", "y_score", "y_prob", "y_hat", "input", "logits", "predictions", "output", "preds"): "y",
    ("class_weight", "pos_weight", "weight"): "class_weights",
    ("sample_weight", "weight", "class_weight", "pos_weight"): "weights",
    ("ignore_class", "ignore_label"): "ignore_index",
    ("smoothing",): "label_smoothing",
    ("n_bins", "num_bins"): "bins",
    ("num_classes", "n_classes"): "classes",
    ("input_shape", "input_size"): "shape",
    ("weights", "state_dict", "variables", "theta"): "params",
    ("parameters", "state_dict"): "tree",
    ("inputs", "features"): "x",
}
"""Keywords of others, and ours; a function is offered the first of ours that it takes."""

ELSEWHERE = {
    **dict.fromkeys(["input_shape", "input_dim", "in_features", "in_channels", "input_size", "batch_input_shape"],
                    "the shape of one example is given to model.init(shape, rng)"),
    "name": "write fn.named(name, layer)", "trainable": "write fn.frozen(layer)",
    **dict.fromkeys(["training", "train", "mode"], "a call with rng trains, and one without predicts"),
    **dict.fromkeys(["size_average", "reduce"], 'write reduction="sum" or reduction="none"'),
    "from_logits": "softmax_cross_entropy and sigmoid_cross_entropy take logits, the others probabilities",
    **dict.fromkeys(["device", "dtype"], "fn.tree.cast(params, np.float64) changes the dtype"),
    **dict.fromkeys(["kernel_regularizer", "weight_regularizer"], "write fn.adamw(rate, weight_decay=1e-2)"),
    **dict.fromkeys(["data_format"], "images are (batch, height, width, channels)"),
    **dict.fromkeys(["restore_best_weights", "save_best_only"], "the best parameters are always kept"),
    "inplace": "leave it out, nothing is changed in place",
    "patience": "write callbacks=[fn.callbacks.early_stopping(metric, patience)]",
    **dict.fromkeys(["clipnorm", "clipvalue"], "write fn.chain(fn.clip_by_global_norm(1.0), optimizer)"),
    **dict.fromkeys(["num_workers", "pin_memory", "workers"], "examples are in memory, so leave it out"),
    "drop_last": "the last, short batch is kept",
    **dict.fromkeys(["sample_weight", "sample_weights", "class_weight"],
                    "weights of examples stand beside the data, (x, target, weights)"),
}  # fmt: skip
"""Keywords of others that no argument stands for, and what takes their place."""

EXAMPLES = {
    "train": "(x, target)", "data": "(x, target)", "params": "model.init(shape, rng=0)", "optimizer": "fn.adam(1e-3)",
    "loss": "fn.softmax_cross_entropy", "epochs": "10", "rng": "0", "metric": "'validation_loss'",
}  # fmt: skip
"""What may be given for an argument that is missing."""

POOLS = {
    **dict.fromkeys(["maxpool", "maxpooling"], "fn.max_pool*(window)"),
    **dict.fromkeys(["avgpool", "averagepooling"], "fn.avg_pool*(window)"), "lppool": "fn.lp_pool*(p, window)",
    "globalmaxpooling": "fn.global_max_pool*", "globalaveragepooling": "fn.global_avg_pool*",
    "adaptiveavgpool": "fn.adaptive_avg_pool*(size)", "adaptiveaveragepooling": "fn.adaptive_avg_pool*(size)",
    "adaptivemaxpool": "fn.adaptive_max_pool*(size)", "adaptivemaxpooling": "fn.adaptive_max_pool*(size)",
}  # fmt: skip
"""Names of pooling layers of others without their rank, and what to write, with a star for it."""

NAMES = {
    "sequential": "fn.serial(...)", "model": "fn.serial(...) or fn.graph({...}, output)",
    "functional": "fn.graph({...}, output)", "module": "a function decorated with @fn.layer that returns (init, apply)",
    "linear": "fn.dense(units)", "conv": "fn.conv2d(filters, kernel)", "convolution2d": "fn.conv2d(filters, kernel)",
    **{f"conv{rank}dtranspose": f"fn.conv_transpose{rank}d(filters, kernel)" for rank in (1, 2, 3)},
    **{f"convtranspose{rank}d": f"fn.conv_transpose{rank}d(filters, kernel)" for rank in (1, 2, 3)},
    "deconv": "fn.conv_transpose2d(filters, kernel)", "deconvolution2d": "fn.conv_transpose2d(filters, kernel)",
    "separableconvolution2d": "fn.separable_conv2d(filters, kernel)",
    **{f"{other}{rank}d": write.replace("*", f"{rank}d") for rank in (1, 2, 3) for other, write in POOLS.items()},
    "im2col": "fn.unfold(size)", "col2im": "fn.fold(pixels, size)", "unfold": "fn.unfold(size)",
    "fold": "fn.fold(pixels, size)", "batchnormalization": "fn.batch_norm()",
    "batchnorm1d": "fn.batch_norm()", "batchnorm2d": "fn.batch_norm()", "gelunew": "fn.gelu(approximate=True)",
    "gelupytorchtanh": "fn.gelu(approximate=True)", "hswish": "fn.hard_swish", "hardsilu": "fn.hard_swish",
    "hsigmoid": "fn.hard_sigmoid()", "squaredrelu": "fn.relu_squared", "sin": "fn.sine", "exponential": "fn.exp",
    "thresholdedrelu": "fn.threshold(1.0)", "softmax2d": "fn.softmax", "lrelu": "fn.leaky_relu()",
    "rrelu": "fn.leaky_relu(11 / 48), which it is when it predicts",
    "multiheadattention": "fn.multi_head_attention(heads)",
    "scaleddotproductattention": 'fn.attention() of {"q", "k", "v"}',
    "transformerencoderlayer": "fn.transformer_encoder_layer(units, heads)",
    "transformerdecoderlayer": "fn.transformer_decoder_layer(units, heads)",
    "positionalencoding": 'fn.positions("sinusoidal")', "positionembedding": 'fn.positions("learned")',
    "layernormalization": "fn.layer_norm()", "logsoftmax": "fn.log_softmax", "input": "the shape given to model.init",
    **dict.fromkeys(["upsampling2d", "interpolate", "resize", "resizing"], "fn.upsample2d(factor)"),
    "upsampling1d": "fn.upsample1d(factor)", "upsampling3d": "fn.upsample3d(factor)",
    "upsamplingnearest2d": "fn.upsample2d(factor)", "upsamplingbilinear2d": "fn.upsample2d(factor, mode='bilinear')",
    **dict.fromkeys(["zeropadding1d", "zeropadding2d", "zeropadding3d", "zeropad1d", "zeropad2d", "zeropad3d"],
                    "fn.pad(widths)"),
    **dict.fromkeys(["constantpad1d", "constantpad2d", "constantpad3d"], "fn.pad(widths, 'constant', value)"),
    **dict.fromkeys(["reflectionpad1d", "reflectionpad2d", "reflectionpad3d"], "fn.pad(widths, 'reflect')"),
    **dict.fromkeys(["replicationpad1d", "replicationpad2d", "replicationpad3d"], "fn.pad(widths, 'replicate')"),
    **dict.fromkeys(["circularpad1d", "circularpad2d", "circularpad3d"], "fn.pad(widths, 'circular')"),
    **dict.fromkeys(["cropping1d", "cropping2d", "cropping3d", "centercrop"], "fn.crop(widths)"),
    "depthtospace": "fn.pixel_shuffle(factor)", "spacetodepth": "fn.pixel_unshuffle(factor)",
    **dict.fromkeys(["transpose", "swapaxes", "movedim"], "fn.permute(axes)"), "unsqueeze": "fn.expand_dims(axis)",
    **dict.fromkeys(["narrow", "gather"], "fn.take(index, axis)"), "view": "fn.reshape(*shape)",
    "kaimingnormal": "fn.initializers.he_normal", "kaiminguniform": "fn.initializers.he_uniform",
    "xaviernormal": "fn.initializers.glorot_normal", "xavieruniform": "fn.initializers.glorot_uniform",
    "truncnormal": "fn.initializers.truncated_normal(std)", "calculategain": "fn.initializers.gain(activation)",
    **dict.fromkeys(["dirac", "eye"], "fn.initializers.identity()"),
    "concatenate": "fn.concat(...)", "cat": "fn.concat(...)",
    "inputlayer": "the shape given to model.init", "upsample": "fn.upsample2d(factor)",
    "groupnormalization": "fn.group_norm(groups)", "rmsnormalization": "fn.rms_norm()",
    **dict.fromkeys(["instancenorm1d", "instancenorm2d", "instancenorm3d"], "fn.instance_norm()"),
    **dict.fromkeys(["unitnormalization", "normalize"], "fn.l2_normalize()"),
    "spectralnormalization": "fn.spectral_norm(layer)", "weightnormalization": "fn.weight_norm(layer)",
    **dict.fromkeys(["dropout1d", "dropout2d", "dropout3d", "spatialdropout1d", "spatialdropout2d", "spatialdropout3d"],
                    "fn.spatial_dropout(rate)"),
    **dict.fromkeys(["stochasticdepth", "droppath"], "fn.drop_path(rate)"),
    "mse": "fn.mean_squared_error", "mseloss": "fn.mean_squared_error", "l2": "fn.mean_squared_error",
    "hingeembeddingloss": "fn.hinge_embedding()", "marginrankingloss": "fn.margin_ranking()",
    "cosineembeddingloss": "fn.cosine_embedding()", "cosinesimilarityloss": "fn.cosine_similarity",
    "tripletmarginloss": "fn.triplet_margin()", "tripletloss": "fn.triplet_margin()",
    "contrastiveloss": "fn.contrastive()", "ntxentloss": "fn.info_nce(symmetric=True)",
    "cliploss": "fn.info_nce(symmetric=True)", "ctcloss": "fn.ctc()",
    "squarederror": "fn.mean_squared_error", "meansquarederror": "fn.mean_squared_error",
    "crossentropy": "fn.softmax_cross_entropy", "crossentropyloss": "fn.softmax_cross_entropy",
    "sparsecategoricalcrossentropy": "fn.softmax_cross_entropy", "categoricalcrossentropy": "fn.softmax_cross_entropy",
    "nll": "fn.softmax_cross_entropy", "nllloss": "fn.negative_log_likelihood", "logloss": "fn.softmax_cross_entropy",
    "binarycrossentropy": "fn.sigmoid_cross_entropy", "bce": "fn.sigmoid_cross_entropy",
    "bceloss": "fn.sigmoid_cross_entropy", "bcewithlogits": "fn.sigmoid_cross_entropy",
    "bcewithlogitsloss": "fn.sigmoid_cross_entropy",
    "mae": "fn.mean_absolute_error", "l1": "fn.mean_absolute_error", "l1loss": "fn.mean_absolute_error",
    "meanabsoluteerror": "fn.mean_absolute_error", "absoluteerror": "fn.mean_absolute_error",
    "huberloss": "fn.huber(delta)", "huber": "fn.huber(delta)", "smoothl1loss": "fn.smooth_l1(beta)",
    "logcosh": "fn.log_cosh", "msle": "fn.mean_squared_log_error", "pinball": "fn.quantile(q)",
    "pinballloss": "fn.quantile(q)", "quantileloss": "fn.quantile(q)", "poisson": "fn.poisson_nll()",
    "poissonnllloss": "fn.poisson_nll()", "gaussiannllloss": "fn.gaussian_nll()", "kldivloss": "fn.kl_divergence()",
    "kldiv": "fn.kl_divergence()", "kld": "fn.kl_divergence()", "kldivergence": "fn.kl_divergence()",
    "hingeloss": "fn.hinge", "softmarginloss": "fn.soft_margin", "multimarginloss": "fn.multi_margin()",
    "multilabelmarginloss": "fn.multilabel_margin", "multilabelsoftmarginloss": "fn.multilabel_soft_margin",
    "categoricalhinge": "fn.categorical_hinge", "squaredhinge": "fn.squared_hinge",
    "sigmoidfocalloss": "fn.focal(gamma, alpha)", "focalloss": "fn.focal(gamma, alpha)",
    "binaryfocalcrossentropy": "fn.focal(gamma, alpha)", "categoricalfocalcrossentropy": "fn.softmax_focal(gamma)",
    "diceloss": "fn.dice", "tverskyloss": "fn.tversky(alpha, beta)",
    "adam": "fn.adam(1e-3)", "adamw": "fn.adamw(1e-3)", "sgd": "fn.sgd(0.1)", "rmsprop": "fn.rmsprop(1e-3)",
    "adagrad": "fn.adagrad(0.01)", "adadelta": "fn.adadelta()", "adamax": "fn.adamax(2e-3)",
    "nadam": "fn.nadam(2e-3)", "radam": "fn.radam(1e-3)", "amsgrad": "fn.amsgrad(1e-3)", "lion": "fn.lion(1e-4)",
    "adafactor": "fn.adafactor()", "rprop": "fn.rprop(0.01)", "asgd": "fn.asgd()", "muon": "fn.muon(0.02)",
    "lamb": "fn.lamb(1e-3)", "lars": "fn.lars(0.1)", "adabelief": "fn.adabelief(1e-3)", "yogi": "fn.yogi(1e-2)",
    "adan": "fn.adan(1e-3)", "ademamix": "fn.ademamix(1e-3)", "adopt": "fn.adopt(1e-3)", "prodigy": "fn.prodigy()",
    "signsgd": "fn.signum(1e-4, decay=0.0)", "swalr": "fn.swa(optimizer, start)", "lbfgs": "fn.lbfgs(f, params)",
    "averagedmodel": "fn.ema(optimizer), fn.averaged(state, params)", "multisteps": "fn.accumulate(optimizer, steps)",
    "applyiffinite": "fn.skip_non_finite(optimizer)", "schedulefree": "fn.schedule_free(optimizer)",
    "reducelronplateau": "fn.reduce_on_plateau(factor, patience)", "onecyclelr": "fn.one_cycle(rate, steps)",
    "cycliclr": "fn.cyclic(low, high, up)", "polynomiallr": "fn.polynomial_decay(rate, steps, power)",
    "polynomialdecay": "fn.polynomial_decay(rate, steps, power)", "lineardecay": "fn.polynomial_decay(rate, steps)",
    "multisteplr": "fn.piecewise_constant(rate, {step: factor})",
    "piecewiseconstantdecay": "fn.piecewise_constant(rate, {step: factor})",
    "cosineannealingwarmrestarts": "fn.cosine_with_restarts(rate, steps)",
    "cosinedecayrestarts": "fn.cosine_with_restarts(rate, steps)",
    "warmupcosinedecayschedule": "fn.warmup_cosine(rate, warmup, steps)", "lambdalr": "a function step -> rate",
    "steplr": "fn.step_decay(rate, every, factor)", "cosineannealinglr": "fn.cosine_decay(rate, steps)",
    "cosinedecay": "fn.cosine_decay(rate, steps)", "exponentialdecay": "fn.exponential_decay(rate, steps, factor)",
    "exponentiallr": "fn.exponential_decay(rate, steps, factor)",
    "acc": "fn.metrics.accuracy", "accuracy": "fn.metrics.accuracy", "auc": "fn.metrics.roc_auc",
    "rocauc": "fn.metrics.roc_auc", "rocaucscore": "fn.metrics.roc_auc", "f1": "fn.metrics.f1",
    "f1score": "fn.metrics.f1", "accuracyscore": "fn.metrics.accuracy", "precision": "fn.metrics.precision",
    "recall": "fn.metrics.recall", "r2": "fn.metrics.r2", "r2score": "fn.metrics.r2",
    "earlystopping": "fn.callbacks.early_stopping(metric, patience)", "csvlogger": "fn.callbacks.csv_log(path)",
    "modelcheckpoint": "fn.callbacks.checkpoints(folder)",
    "dataloader": "fn.batches((x, target), batch_size, epochs, rng)", "dataset": "a tuple (x, target) of arrays",
    "tensordataset": "a tuple (x, target) of arrays", "traintestsplit": "fn.split((x, target), fraction, rng)",
    "randomsplit": "fn.split((x, target), fraction, rng)", "kfold": "fn.k_fold((x, target), folds, rng)",
    "tensor": "np.asarray(x, np.float32)", "array": "np.asarray(x, np.float32)",
    "fromnumpy": "the array itself: funcnn works on NumPy arrays",
    "nograd": "nothing: apply without rng predicts, and only vjp_fn computes gradients",
    "gradienttape": "fn.value_and_grad(model, loss)", "grad": "fn.value_and_grad(model, loss)",
    "vmap": "fn.per_example_grads(model, params, x, target, loss)", "jacrev": "fn.jacobian(model, params, x)",
    "hvp": "fn.hessian_vector_product(model, params, x, target, loss, v)",
    "compile": "fn.fit(model, params, optimizer, (x, target), loss, epochs)",
    "train": "fn.fit(model, params, optimizer, (x, target), loss, epochs)",
    "nn": "its layers as fn.dense, fn.conv2d, ...", "keras": "its layers as fn.dense, fn.conv2d, ...",
    "models": "fn.serial(...)", "manualseed": "rng=0 where a function takes one",
    "seed": "rng=0 where a function takes one", "setseed": "rng=0 where a function takes one",
    "lrscheduler": "fn.step_decay(rate, every, factor) and others, in place of a rate",
    "optimizers": "fn.adam(1e-3), fn.sgd(0.1), ...", "utils": "fn.batches((x, target), batch_size, epochs, rng)",
    "onehot": "fn.datasets.one_hot(labels, classes)", "tocategorical": "fn.datasets.one_hot(labels, classes)",
}  # fmt: skip
"""Names of others, in small letters without ``_``, and what to write."""

OTHERS = {"torch", "keras", "tensorflow", "tf_keras"}
"""The libraries whose layers, losses and optimizers are known by the names of their types."""

PREDICT, FIT = "fn.predict(model, params, x)", "fn.fit(model, params, optimizer, (x, target), loss, epochs)"
GRADIENTS = "y, vjp_fn = model.apply(params, x, rng) and grads, _ = vjp_fn(dy)"
STEP = "params, opt_state = optimizer.step(grads, opt_state, params)"

METHODS = {
    "Layer": {
        **dict.fromkeys(["fit", "compile", "train_on_batch", "fit_generator"], FIT),
        **dict.fromkeys(["predict", "predict_on_batch", "predict_proba", "transform", "eval"], PREDICT),
        **dict.fromkeys(["predict_classes"], f"{PREDICT}.argmax(-1)"),
        **dict.fromkeys(["forward", "call"], "y, vjp_fn = model.apply(params, x)"),
        **dict.fromkeys(["backward", "zero_grad", "grad", "vjp"], GRADIENTS),
        **dict.fromkeys(["train"], f"{FIT}; in a loop of your own, model.apply(params, x, rng) trains"),
        **dict.fromkeys(["evaluate", "score"], "fn.evaluate(model, params, (x, target), loss, metrics)"),
        **dict.fromkeys(["summary", "count_params"], "fn.summary(model, params, shape).show()"),
        **dict.fromkeys(["build", "reset_parameters", "parameters", "weights", "get_weights", "trainable_weights",
                         "trainable_variables", "named_parameters", "state_dict", "params", "w", "b", "weight",
                         "bias"], "params = model.init(shape, rng=0), a nested dict of arrays that you keep"),
        **dict.fromkeys(["save_weights"], "fn.save(path, params)"), "save": "fn.save_model(path, model, params)",
        **dict.fromkeys(["load_weights", "load_state_dict", "load"], "params = fn.load(path, like=params)"),
        **dict.fromkeys(["to_json", "get_config"], "fn.to_json(model)"),
        **dict.fromkeys(["to", "cuda", "cpu", "float", "double", "half"],
                        "fn.tree.cast(params, np.float32) for another dtype; arrays are in the memory of the CPU"),
        **dict.fromkeys(["add", "append", "add_module", "register_buffer"],
                        "fn.serial(*layers): a layer is not changed after it was made"),
        **dict.fromkeys(["layers", "modules", "named_modules", "get_layer", "encoder"],
                        "model.children, or fn.part(model, params, path) for a trained one"),
        **dict.fromkeys(["trainable", "requires_grad_", "freeze"], "fn.frozen(layer)"),
        **dict.fromkeys(["plot", "plot_model"], "fn.plot.diagram(model, params, shape)"),
        "history": "result = fn.fit(...), then result.history", "copy": "nothing: a layer has no state to copy",
    },
    "Optimizer": {
        **dict.fromkeys(["zero_grad", "apply_gradients", "minimize", "apply", "__call__"], STEP),
        **dict.fromkeys(["state", "state_dict", "param_groups", "variables", "get_config", "iterations"],
                        "opt_state = optimizer.init(params), a nested dict that you keep"),
        **dict.fromkeys(["load_state_dict"], "opt_state = fn.load(path, like=opt_state)"),
        **dict.fromkeys(["lr", "learning_rate", "rate", "get_last_lr"], "fn.current_rate(opt_state)"),
    },
    "Fit": {
        **dict.fromkeys(["predict", "model", "forward"], "fn.predict(model, result.params, x)"),
        "evaluate": "fn.evaluate(model, result.params, (x, target), loss, metrics)",
        **dict.fromkeys(["weights", "parameters", "best_params", "state_dict"], "result.params"),
        "save": "fn.save(path, result.params)",
        **dict.fromkeys(["loss", "train_loss"], "result.history[-1]['train_loss']"),
        **dict.fromkeys(["val_loss", "validation_loss"], "result.history[-1]['validation_loss']"),
        **dict.fromkeys(["accuracy", "acc", "metrics", "losses", "log", "logs", "epoch", "epochs", "records", "keys",
                         "items"], "result.history, a list with a dict for each epoch"),
        **dict.fromkeys(["plot", "show"], "fn.plot.learning_curves(result)"),
    },
}  # fmt: skip
"""Attributes that models, optimizers and results have elsewhere, and what to write."""

MEANING = {
    "Layer": "a model is a pair of functions, init and apply, and keeps no parameters",
    "Optimizer": "an optimizer is a pair of functions, init and update, and keeps no state",
    "Fit": "what fit returns is a tuple (params, opt_state, history)",
}


def keyword(unknown: str, known: Iterable[str]) -> str:
    """The keyword that was meant, or an empty string if none is near.

    Example:
        >>> keyword("lr", ["rate", "momentum"]), keyword("epoch", ["epochs"]), keyword("colour", ["rate"])
        ('rate', 'epochs', '')
    """
    names = [*known]
    for others, ours in KEYWORDS.items():
        if unknown in others and ours in names:
            return ours
    close = difflib.get_close_matches(unknown, names, n=1)
    return close[0] if close else ""


def name(unknown: Any) -> str:
    """What to write for something given by name, such as ``"mse"``, or of another library; empty if it is not known.

    Example:
        >>> name("mse"), name("Conv"), name("abc"), name(3)
        ('fn.mean_squared_error', 'fn.conv2d(filters, kernel)', '', '')
    """
    if not is_foreign(unknown):
        return NAMES.get(_plain(unknown), "") if isinstance(unknown, str) else ""
    foreign = _plain(type(unknown).__name__)
    same = (f"fn.{ours}" for ours in getattr(sys.modules["funcnn"], "__all__", ()) if _plain(ours) == foreign)
    return NAMES.get(foreign) or next(same, "")


def is_foreign(thing: Any) -> bool:
    """Whether this is an object of another library of neural networks, which is named by its type."""
    return type(thing).__module__.partition(".")[0] in OTHERS


def no_attribute(thing: Any, attribute: str) -> AttributeError:
    """The error of a layer, an optimizer or a result without such an attribute; it says what to write where known."""
    kind = type(thing).__name__
    write, hint = METHODS[kind].get(attribute, ""), ""
    if write:
        hint = f": {MEANING[kind]}; write {write}"
    elif not attribute.startswith("_") and (near := difflib.get_close_matches(attribute, dir(thing), n=1)):
        hint = f"; did you mean {near[0]!r}?"
    return AttributeError(f"{kind!r} object has no attribute {attribute!r}{hint}", name=attribute, obj=thing)


def not_called(layer: Any, text: str, ready: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """What to write in place of the call of a layer; ``ready`` names one that is made already, ``relu``."""
    if ready and not any(hasattr(arg, "shape") or isinstance(arg, type(layer)) for arg in args):
        takes = "takes no arguments" if args or kwargs else "is not called"
        return f"{ready} is a layer already and {takes}; write fn.{ready}, without parentheses"
    words = f"{text} is a pair of functions, init and apply, and is not called itself"
    if any(isinstance(arg, type(layer)) for arg in args):
        return f"{words}; to put layers one after the other, write fn.serial(first, second)"
    name, params = (f"fn.{ready}", "{}") if ready else ("model", "params")
    return f"{words}; write y, vjp_fn = {name}.apply({params}, x), or y = fn.predict({name}, {params}, x)"


def explain_names(module: str, on_demand: Collection[str] = ()) -> None:
    """Let a module say what to write for a name that it does not have, ``fn.Dense`` or ``fn.nn`` for example.

    Names of modules inside that are to be imported when they are first used, since they need an extra, are these.
    """
    names, short = vars(sys.modules[module]), module.replace("funcnn.training", "fn").replace("funcnn", "fn")

    def missing(attribute: str) -> Any:
        if attribute in on_demand:
            return importlib.import_module(f"{module}.{attribute}")
        write = "" if attribute.startswith("_") else _named_like(attribute, names, short) or name(attribute)
        hint = f"; write {write}" if write else ""
        raise AttributeError(f"module {module!r} has no attribute {attribute!r}{hint}", name=attribute)

    names["__getattr__"] = missing


def _named_like(attribute: str, names: Mapping[str, Any], module: str) -> str:
    """The name in a module that is the same but for capitals and underscores, or one that is near; or an empty text."""
    public = [ours for ours in names if not ours.startswith("_")]
    same = [ours for ours in public if _plain(ours) == _plain(attribute)]
    near = [] if _plain(attribute) in NAMES else difflib.get_close_matches(attribute, public, n=1)
    for found in (*same, *near):
        top = "fn" if hasattr(sys.modules["funcnn"], found) else module
        return f"{top}.{found}"
    return ""


def _plain(text: str) -> str:
    """A name in small letters without what separates its words."""
    return text.lower().replace("_", "").replace("-", "").replace(" ", "")
