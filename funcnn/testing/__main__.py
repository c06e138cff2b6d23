"""``python -m funcnn.testing`` prints the report of every layer and loss, and lists the error of each derivative."""

from funcnn.testing import check_layer, check_loss, table_of_layers, table_of_losses
from funcnn.testing.report import Report, print_all
from funcnn.testing.table.activations import ROWS as ACTIVATIONS

activations = {id(layer) for layer, _ in ACTIVATIONS}
found: dict[str, list[Report]] = {"layers": [], "activations": [], "losses": []}
for layer, shape in table_of_layers():
    found["activations" if id(layer) in activations else "layers"].append(check_layer(layer, shape))
found["losses"] = [check_loss(*row) for row in table_of_losses()]
print_all(found)
