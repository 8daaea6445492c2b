"""The `gicv3` command."""

import sys


def main() -> None:
    """Run the command line; exits the process with its status."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"gicv3: {where}{error.strerror or error}")


def _run() -> None:
    try:
        import rich  # noqa: F401

        from gicv3.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "typer"):
            raise
        sys.exit(
            "the gicv3 command needs its extra packages: pip install 'gicv3[cli,unicorn]', "
            "or in its source folder: pip install '.[cli,unicorn]'"
        )
    app()
