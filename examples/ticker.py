"""Prices: one task publishes them, and each client gets the newest of every symbol it can take.

    triows run examples.ticker:app

Then watch them all, or those of one symbol:

    triows connect ws://127.0.0.1:8000/prices
    triows connect ws://127.0.0.1:8000/prices/OAK

Nobody waits for a client that reads slowly: what it has not read yet is replaced by what is newer.
"""

import random

import trio

from triows import App, channels

SYMBOLS = ("ASH", "ELM", "FIR", "OAK")

app = App(__name__)
app.converter("symbol", "|".join(SYMBOLS), parse=str)
app.channels.configure("prices:*", history=1, ttl=60, overflow="latest")


@app.lifespan
async def lifespan():  # noqa: ASYNC124  # what it starts needs the app to run
    app.start_soon(trade)
    yield


async def trade():
    """Move a price, many times a second."""
    prices = dict.fromkeys(SYMBOLS, 10_000)
    while True:
        symbol = random.choice(SYMBOLS)  # noqa: S311
        prices[symbol] = max(1, prices[symbol] + random.randint(-50, 50))  # noqa: S311
        price = {"symbol": symbol, "price": prices[symbol] / 100}
        for topic in (f"prices:{symbol}", "prices:all"):
            await channels.publish_json(topic, price, key=symbol)
        await trio.sleep(0.01)


@app.websocket(incoming="discard", on_disconnect="cancel")
async def prices():
    """Push every price."""
    await channels.join("prices:all")
    await trio.sleep_forever()


@app.websocket("/prices/<symbol:symbol>", incoming="discard", on_disconnect="cancel")
async def one(symbol):
    """Push the prices of one symbol, beginning with the last one."""
    await channels.join(f"prices:{symbol}", since=0)
    await trio.sleep_forever()
