"""``python -m funcnn.testing`` prints the report of every layer of the library."""

from funcnn import terminal
from funcnn.testing import check_layer, table_of_layers

reports = [check_layer(layer, shape) for layer, shape in table_of_layers()]
print("\n\n".join(str(report) for report in reports))
worst = max(reports, key=lambda report: report.largest_error)
last = f"{len(reports)} layers keep every law; the largest error of a derivative is {worst.largest_error:.1e}, in"
print("\n" + terminal.wrapped(f"{last} {worst.subject}.".split(" ")))
