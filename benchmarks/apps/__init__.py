"""The same two apps, as each contender would have them written.

At `/echo` every text comes back to who sent it. At `/fanout` it goes to all who are connected
there, its sender too.

An `_app` is for a server, the arguments of a `_server` are where it serves: `HOST PORT`.
"""
