-- wrk: one key after the other.
local keys = {}
for key in (os.getenv("BENCH_KEYS") or ""):gmatch("[^,]+") do
	keys[#keys + 1] = key
end
local n = 0

function request()
	if #keys == 0 then
		return wrk.format()
	end
	n = n % #keys + 1
	return wrk.format(nil, nil, { ["Authorization"] = "Bearer " .. keys[n] })
end
