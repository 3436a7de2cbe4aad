"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Directory: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        help="State directory of the mesh; ./.meshpass unless said.",
        envvar="MESHPASS_DIR",
        file_okay=False,
        show_default=False,
    ),
]
Context: TypeAlias = Annotated[
    str | None,
    typer.Option("--context", help="Cluster; the management cluster unless said.", show_default=False),
]
NamespaceName: TypeAlias = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace.", show_default=False)
]
