from rich.console import Console


def print_profile(console: Console) -> None:
    raise NotImplementedError
