"""Commands that measure: `rltrainer bench NAME`, or `python -m benchmarks.NAME`, with `--json FILE` and `--quick`."""

BENCHMARKS = {
    "labels": "how far labels go: true return over plain PPO's",
    "peers": "the same beside imitation: return per label, step, CPU second",
    "teachers": "what an oracle's mistakes cost",
    "offline": "which reward learner foretells preferences best",
    "history": "where a reward that looks back foretells more than a sum",
    "taught": "what agents learn from judges by more than a sum",
    "answers": "what it is worth to say how much better, and that two are equal",
    "labelers": "what it is worth to tell one who knows from one who guesses",
    "learner": "speed of reward training and of queries, beside imitation",
    "pictures": "speed of a reward that sees pictures, with and without a GPU",
    "overhead": "training speed with a learned reward, over plain PPO's",
    "labeler": "keypress to next pair, and what labelling costs training",
    "faults": "labels lost when service and trainer are killed",
    "fuzz": "generated messages to the label service: crashes, bad rows, others closed",
    "load": "how soon labels are saved: 200 labelers, training beside, guests who mean no well",
    "resume": "runs killed and resumed: whether they end the same, and the cost",
    "memory": "what a long run holds in memory, from the warm-up to the end",
    "clips": "time and size of a pair of clips",
}
"""What there is, with a line each for `rltrainer bench --help`."""
