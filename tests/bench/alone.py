"""`python -m tests.bench.alone ENGINE PATH`: tokens per second of one stream without a server around it.

One figure for every line on stdin, so that it can be measured in turn with something else.
"""

import importlib
import sys
import time

from inference.request import Assignment, Chat, Message, Sampling
from inference.runner.engine import Job
from inference.runner.session import ENGINES
from tests.bench.measure import SHORT, words

TOKENS = 200


def main() -> None:
    engine_name, path = sys.argv[1:]
    assignment = Assignment(engine_name, path, "chat", 8192, 64 << 20)
    tokenizer, engine = importlib.import_module(ENGINES[engine_name]).load(assignment)
    for round, _ in enumerate(sys.stdin):
        prompt = tokenizer.encode(tokenizer.render(Chat([Message("user", words(SHORT, round))])))
        engine.admit(Job(round + 1, prompt, TOKENS, Sampling(temperature=0)))
        times = []
        while engine.busy:
            if engine.step(2048).tokens:
                times.append(time.perf_counter())
        print((len(times) - 1) / (times[-1] - times[0]), flush=True)


if __name__ == "__main__":
    main()
