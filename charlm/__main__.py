"""The program: `charlm`, and `python -m charlm`."""

import sys

from charlm import failures, signals


def main() -> int:
    """Runs the command line and returns its exit status; signals end it from the first moment."""
    with signals.ending(for_good=True):
        try:
            from charlm import cli  # which takes a while

            return cli.main()
        except KeyboardInterrupt as interrupt:
            return signals.status_of(interrupt)
        except (ImportError, MemoryError) as error:  # before there is what would say it
            said = failures.line(error)
            if said is None:
                raise
            print(f"charlm: {said}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
