-- Rate limits by GCRA, several policies in one call; nothing is taken unless all of them allow. A bucket
-- is its theoretical arrival time in microseconds of Redis' own clock, and expires once it is full again.
--
-- ask:    KEYS 1 limits of the key, 2 bucket of the address for unknown keys, 3 and 4 buckets
--         ARGV 2 place of bucket 3's limit among the key's limits (0: the key has none), 3 that bucket's
--         limit and 4 window in ms, 5 and 6 the same for bucket 4, 7 and 8 for the address
--         answers allowed, who refused (0, 1: bucket 3, 4; 2: address), ms until it would be allowed,
--         {limit, remaining, ms until full} for bucket 3, 4 and the address,
--         seconds since the limits were stored (-1: never) and the four limits that were stored
-- charge: KEYS 1 bucket of the address, ARGV 2 its limit and 3 window in ms
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function look(key, limit, window_ms)
	local p = { key = key, limit = math.max(tonumber(limit), 1), window = window_ms * 1000 }
	p.step = p.window / p.limit
	p.tat = math.max(tonumber(redis.call('GET', key) or 0), now)
	p.late = p.tat + p.step - now - p.window
	return p
end

local function take(p)
	p.tat = p.tat + p.step
	redis.call('SET', p.key, string.format('%.0f', p.tat), 'PX', math.ceil((p.tat - now) / 1000))
end

local function allows(p)
	return p.late < 1
end

local function answer(allowed, who, refusing, a, b, address, age, stored)
	local out = { allowed, who, refusing and math.ceil(refusing.late / 1000) or 0 }
	for _, p in ipairs({ a, b, address }) do
		out[#out + 1] = p.limit
		out[#out + 1] = p.step and math.max(math.floor((p.window - (p.tat - now)) / p.step + 0.001), 0) or 0
		out[#out + 1] = p.step and math.ceil((p.tat - now) / 1000) or 0
	end
	out[#out + 1] = age
	for i = 1, 4 do
		out[#out + 1] = stored[i] or 0
	end
	return out
end

if ARGV[1] == 'charge' then
	local p = look(KEYS[1], ARGV[2], ARGV[3])
	if allows(p) then
		take(p)
	end
	return 1
end

local none = { limit = 0 }
local place = tonumber(ARGV[2])
local first, second = ARGV[3], ARGV[5]
local stored, age = {}, -1

if place > 0 then
	local record = redis.call('GET', KEYS[1])
	local r, w, c, b, at = string.match(record or '', '^(%d+),(%d+),(%d+),(%d+),(%d+)$')
	if at then
		stored = { tonumber(r), tonumber(w), tonumber(c), tonumber(b) }
		age = math.max(time[1] - at, 0)
		first, second = stored[place], stored[4]
	else
		local address = look(KEYS[2], ARGV[7], ARGV[8])
		if not allows(address) then
			return answer(0, 2, address, none, none, address, age, stored)
		end
	end
end

local a, b = look(KEYS[3], first, ARGV[4]), look(KEYS[4], second, ARGV[6])
if allows(a) and allows(b) then
	take(a)
	take(b)
	return answer(1, 0, nil, a, b, none, age, stored)
end
local refusing = a.late >= b.late and a or b
return answer(0, refusing == a and 0 or 1, refusing, a, b, none, age, stored)
