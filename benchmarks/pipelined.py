"""Echo with 16 messages of each client in flight: what is saved by handling them together.

python -m benchmarks.pipelined --rounds 5 --clients 64 --size 32 --depth 16 --record
"""

from dataclasses import replace

from benchmarks.comparison import main
from benchmarks.contenders import UVICORN
from benchmarks.echo import ECHO
from benchmarks.load import Load

PIPELINED = replace(
    ECHO,
    name="pipelined",
    title="Echo with many messages in flight",
    limits={UVICORN.name: {"bound": 0.6, "goal": 0.5}},
    load=Load(depth=16),
)

if __name__ == "__main__":
    main(PIPELINED)
