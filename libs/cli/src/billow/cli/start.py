"""Where the command `billow` begins."""


def main() -> None:
    """Run the command. Ctrl-C ends it without a traceback also while it is being imported, which takes a while."""
    try:
        from billow.cli.__main__ import app
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    app(prog_name="billow")
