"""Event files are tested only where tensorboardX, which writes them, and TensorBoard, which reads them, are found."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("tensorboardX") and find_spec("tensorboard") else ["*"]
