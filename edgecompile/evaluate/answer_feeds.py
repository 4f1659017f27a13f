"""Answer feeds with an artifact, in a process of its own, on one thread.

    python -m edgecompile.evaluate.answer_feeds ENGINE MODEL FEEDS ANSWERS

It imports as little as it can: an emulated CPU takes ten times as long for that, too.
"""

import importlib
import sys
from pathlib import Path

from edgecompile.rows_file import Rows, write_answers


def main(engine_name: str, artifact: str, asked: str, answered: str) -> None:
    """Answer each feed of one .npz into another."""
    run = importlib.import_module(f"edgecompile.emit.{engine_name}").runner(Path(artifact), 1)
    feeds = Rows(Path(asked))
    write_answers(Path(answered), (run(feed) for feed in feeds.read(0, len(feeds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
