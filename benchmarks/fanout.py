"""Fan-out: what one client publishes, 200 receive. What is counted is a delivery to one of them.

python -m benchmarks.fanout --rounds 5 --clients 200 --size 32 --record
"""

from benchmarks.comparison import Comparison, main
from benchmarks.contenders import BARE_UVICORN, SERVERS, SOCKETS, TRIOWS
from benchmarks.load import Load

FANOUT = Comparison(
    name="fanout",
    title="Fan-out",
    kind="fanout",
    what=("delivery", "deliveries"),
    ours=TRIOWS,
    contenders=(*SERVERS, SOCKETS),
    limits={BARE_UVICORN.name: {"bound": 0.7, "goal": 0.5}},
    load=Load(clients=200),
)

if __name__ == "__main__":
    main(FANOUT)
