-- wrk: a browser-like request to one of HOSTS names, in an order that no cache can guess.
local hosts = tonumber(os.getenv("HOSTS") or "500")
local at, made = 0, {}

init = function()
	for i = 0, hosts - 1 do
		made[i] = wrk.format("GET", os.getenv("TARGET") or "/api/items?page=1", {
			["Host"] = "app" .. i .. ".example.test",
			["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0",
			["Accept"] = "*/*",
			["Accept-Encoding"] = "gzip, deflate, br",
			["Cookie"] = "session=0123456789abcdef0123456789abcdef",
			["Connection"] = os.getenv("CLOSE") and "close" or nil,
		})
	end
end

request = function()
	at = (at * 1103515245 + 12345) % 2147483648
	return made[at % hosts]
end
