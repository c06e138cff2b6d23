"""``python -m funcnn.testing`` prints the report of every layer and loss, and lists the error of each derivative."""

from funcnn import terminal
from funcnn.testing import check_layer, check_loss, table_of_layers, table_of_losses
from funcnn.testing.report import Report
from funcnn.testing.table.activations import ROWS as ACTIVATIONS


def listed(title: str, reports: list[Report]) -> str:
    """A line for each report: the largest error of a derivative, and of what."""
    width = terminal.columns() - 10
    lines = ((report, terminal.broken(report.subject, width)) for report in reports)
    return "\n".join([title, *(f"  {r.largest_error:.1e} " + f"\n{'':10}".join(text) for r, text in lines)])


activations = {id(layer) for layer, _ in ACTIVATIONS}
found: dict[str, list[Report]] = {"layers": [], "activations": [], "losses": []}
for layer, shape in table_of_layers():
    found["activations" if id(layer) in activations else "layers"].append(check_layer(layer, shape))
found["losses"] = [check_loss(*row) for row in table_of_losses()]
print("\n\n".join(str(report) for reports in found.values() for report in reports))
for kind, reports in found.items():
    print(f"\n{listed(f'The largest error of a derivative, of {kind}:', reports)}")
worst = max((report for reports in found.values() for report in reports), key=lambda report: report.largest_error)
counts = " and ".join(", ".join(f"{len(reports)} {kind}" for kind, reports in found.items()).rsplit(", ", 1))
last = f"{counts} keep every law; the largest error of a derivative is {worst.largest_error:.1e}, in"
print("\n" + terminal.wrapped(f"{last} {worst.subject}.".split(" ")))
