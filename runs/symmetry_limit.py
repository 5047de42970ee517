"""How the symmetry scores of a model's own replies are spread: where the default limit of chat --check-symmetry lies.

    python runs/symmetry_limit.py [MODEL] [REPLIES]

Messages are first turns of the generated conversations (qig_edge.corpus.talk), each answered once at chat's defaults with its own seed.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np

from qig_edge.corpus.talk import talk
from qig_edge.runtime.assets import model_path
from qig_edge.runtime.backend import Sampling
from qig_edge.runtime.chat import Chat
from qig_edge.runtime.native import NativeModel
from qig_edge.runtime.roles import swap_roles
from qig_edge.runtime.symmetry import LIMIT, Scorer

SEED = 12


def main() -> None:
    path = model_path(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 600
    rng = random.Random(SEED)
    scores, role_words = [], []
    with NativeModel(path) as model, Scorer(model, n_threads=1) as scorer:
        for i in range(n):
            message = talk(rng)["messages"][0]["content"]
            with model.session(n_threads=1) as session:
                chat = Chat(model, session, sampling=Sampling(seed=1000 + i), max_tokens=128)
                reply = "".join(chat.answer(message))
                found = scorer.score([("user", message)], reply, ended=chat.stats.end == "end")
            scores.append(found.score)
            role_words.append(swap_roles(message) != message or swap_roles(reply) != reply)
    table, role = np.array(scores), np.array(role_words)
    print(f"seed {SEED}, {n} replies, {role.mean():.0%} of them with a role word in message or reply")
    print("| replies | 1% | 5% | 10% | median | mean | below the limit |\n|---|---|---|---|---|---|---|")
    for name, chosen in (("all", table), ("with a role word", table[role])):
        quantiles = " | ".join(f"{q:.3f}" for q in np.quantile(chosen, [0.01, 0.05, 0.1, 0.5]))
        print(f"| {name} | {quantiles} | {chosen.mean():.3f} | {(chosen < LIMIT).mean():.1%} |")


if __name__ == "__main__":
    main()
