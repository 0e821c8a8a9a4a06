"""What Redis does for a broker, each in one step: its scripts, in Lua.

All keys of a topic have its name as their hash tag, so they are in one slot of a cluster.
"""

from hashlib import sha1


class Script:
    """A script, and the name under which Redis has it.

    `ARGV[1]` is always what a server remembers with, its process and its disk: see `memory_of`.

    Attributes:
        sharded: The same, but it publishes in the shard of its keys only.
    """

    def __init__(self, *parts: str) -> None:
        self.text: str = "".join(parts)
        self.sha: str = sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        has_none = "'PUBLISH'" not in self.text
        self.sharded: Script = (
            self if has_none else Script(self.text.replace("'PUBLISH'", "'SPUBLISH'"))
        )


_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# It is no key: a cluster that moves a slot would miss it, and do nothing until all has moved.
_CHANNEL = """
local channel = string.match(KEYS[1], '^(.*:)') .. 'all'
"""

# For how long it is known where a topic stands that nobody uses: as long as its messages, and for a
# day at least. One that never had any has less to lose, and anybody may join topics of any name.
_LIFE = """
local function life(offset, ms)
  if offset == 0 then return math.max(ms, 600000) end
  return math.max(ms, 86400000)
end
local function count(text)
  return text and string.match(text, '^%d+$') and #text < 16 and tonumber(text)
end
"""

# KEYS: state, log. ARGV: memory, a new epoch, how many are kept (0: as was said), ms for each.
_STAND = (
    _LIFE
    + """
local function remembers(before)
  if before == ARGV[1] then return before, true end
  local process, disk = string.match(ARGV[1], '^(%S*) ?(.*)$')
  local process_then, disk_then = string.match(before or '', '^(%S*) ?(.*)$')
  if process == process_then then return disk == '?' and before or ARGV[1], true end
  return ARGV[1], disk ~= '' and disk ~= '?' and disk == disk_then
end
local function stand(step)
  local state = redis.pcall('HMGET', KEYS[1], 'memory', 'epoch', 'offset', 'kept', 'ms')
  if state.err then
    redis.call('DEL', KEYS[1])
    state = {}
  end
  local kept, ms = tonumber(ARGV[3]), tonumber(ARGV[4])
  if kept == 0 then
    kept, ms = count(state[4]), count(state[5])
    if not (kept and ms) then return nil end
  end
  local epoch, offset = state[2], count(state[3])
  local memory, is_same = remembers(state[1])
  -- Others may have written there: what cannot be read is taken for lost.
  if not is_same or not offset or not string.match(epoch or '', '^%w+$') then
    redis.call('DEL', KEYS[2])
    epoch, offset = ARGV[2], 0
  end
  offset = offset + step
  redis.call('HSET', KEYS[1], 'memory', memory, 'epoch', epoch,
    'offset', string.format('%.0f', offset), 'kept', kept, 'ms', ms)
  redis.call('PEXPIRE', KEYS[1], life(offset, ms))
  return epoch, offset, kept, ms
end
"""
)

STAND = Script(
    _STAND,
    """
local epoch, offset = stand(0)
if not epoch then return nil end
return {epoch, offset}
""",
)
"""Return where a topic stands, or nil if it has no history."""

# ARGV[5]: the message.
PUBLISH = Script(
    _NOW,
    _STAND,
    _CHANNEL,
    """
local epoch, offset, kept, ms = stand(1)
if not epoch then return {redis.call('PUBLISH', channel, 'm\\n' .. ARGV[5])} end
local function add(call)
  local id = string.format('%.0f-0', offset)
  return call('XADD', KEYS[2], 'MAXLEN', '=', kept, id, 'at', now, 'm', ARGV[5])
end
if type(add(redis.pcall)) == 'table' then
  -- It refuses: others have written there. With a new epoch nothing of theirs is in the way.
  redis.call('DEL', KEYS[2])
  epoch, offset = ARGV[2], 1
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', offset)
  add(redis.call)
end
local text = string.format('%.0f', offset)
redis.call('PEXPIRE', KEYS[2], ms)
local heard = redis.call('PUBLISH', channel, 'm' .. epoch .. ' ' .. text .. '\\n' .. ARGV[5])
return {heard, epoch, offset}
""",
)
"""Remember a message, if the topic has history, and send it out: its hearers, its position."""

# ARGV[5], ARGV[6]: the epoch and the offset after which to begin. A page has 1 MiB, or one message.
REPLAY = Script(
    _NOW,
    _STAND,
    """
local epoch, offset, kept, ms = stand(0)
if not epoch then return {ARGV[2], 0, 0, 0, {}} end
local after = tonumber(ARGV[6])
if ARGV[5] ~= epoch or after > offset then after = 0 end
local last, room, entries = after, 1048576, {}
local function read(number)
  local first, final = string.format('%.0f', last + 1), string.format('%.0f', offset)
  local found = redis.call('XRANGE', KEYS[2], first, final, 'COUNT', number)
  for _, entry in ipairs(found) do
    local at, body = tonumber(entry[2][2]), entry[2][4] or ''
    room = room - #body
    if room < 0 and #entries > 0 then return end
    last = tonumber(string.match(entry[1], '^%d+'))
    if not at or at > now - ms then entries[#entries + 1] = {last, body} end
  end
  if #found < number then last = offset end
end
-- Few at a time, as large ones would fill the memory of the script.
local number = 1
while last < offset and room > 0 and #entries < 1000 do
  read(number)
  number = math.min(2 * number, 32)
end
return {epoch, offset, after, last, entries}
""",
)
"""Return a page: where a topic stands, the offset that is known to it (or 0), after which the page
begins, the one with which it ends, and the offset and the message of each that is remembered."""

# KEYS: leases, the members of this session, state. ARGV: memory, session, ms of a lease.
_PRESENCE = (
    _CHANNEL
    + """
local function members_of(session) return KEYS[1] .. ':' .. session end
local function tell(kind, member, data)
  redis.call('PUBLISH', channel, 'p' .. kind .. member .. '\\n' .. data)
end
local function renew()
  local ms = tonumber(ARGV[3])
  redis.call('ZADD', KEYS[1], now + ms, ARGV[2])
  redis.call('PEXPIRE', KEYS[1], 2 * ms)
  redis.call('PEXPIRE', members_of(ARGV[2]), 2 * ms)
end
local function reap()
  for _, session in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
    local members = redis.call('HGETALL', members_of(session))
    redis.call('DEL', members_of(session))
    redis.call('ZREM', KEYS[1], session)
    for i = 1, #members, 2 do tell('l', members[i], members[i + 1]) end
  end
end
"""
)

# ARGV[4], ARGV[5]: the member, and what it tells of itself.
ENTER = Script(
    _NOW,
    _PRESENCE,
    """
local before = redis.call('HGET', members_of(ARGV[2]), ARGV[4])
redis.call('HSET', members_of(ARGV[2]), ARGV[4], ARGV[5])
renew()
if before ~= ARGV[5] then tell('j', ARGV[4], ARGV[5]) end
""",
)
"""Make a member of a session present; a renewal may have come before."""

LEAVE = Script(
    _PRESENCE,
    """
local data = redis.call('HGET', members_of(ARGV[2]), ARGV[4])
if data then
  redis.call('HDEL', members_of(ARGV[2]), ARGV[4])
  tell('l', ARGV[4], data)
end
""",
)
"""End that."""

# ARGV[4], ARGV[5], and so on: the members, and what each tells of itself.
RENEW = Script(
    _NOW,
    _LIFE,
    _PRESENCE,
    """
local state = redis.pcall('HMGET', KEYS[3], 'offset', 'ms')
local offset, ms = count(state[1]), count(state[2])
if offset and ms then
  redis.call('PEXPIRE', KEYS[3], math.max(life(offset, ms), 2 * tonumber(ARGV[3])))
end
local key, wanted = members_of(ARGV[2]), {}
for i = 4, #ARGV, 2 do wanted[ARGV[i]] = ARGV[i + 1] end
local there = redis.call('HGETALL', key)
for i = 1, #there, 2 do
  if wanted[there[i]] then
    wanted[there[i]] = nil
  else
    redis.call('HDEL', key, there[i])
    tell('l', there[i], there[i + 1])
  end
end
for member, data in pairs(wanted) do
  redis.call('HSET', key, member, data)
  tell('j', member, data)
end
if #ARGV > 3 then renew() else redis.call('ZREM', KEYS[1], ARGV[2]) end
reap()
""",
)
"""Make exactly these members of a session present, and end those of dead sessions; where the topic
stands is known for longer."""

WHO = Script(
    _NOW,
    _PRESENCE,
    """
reap()
local all = {}
for _, session in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  for _, value in ipairs(redis.call('HGETALL', members_of(session))) do all[#all + 1] = value end
end
return all
""",
)
"""Return all members of a topic, and what each tells, in turn."""

SCRIPTS = (STAND, PUBLISH, REPLAY, ENTER, LEAVE, RENEW, WHO)
