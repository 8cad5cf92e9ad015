-- wrk ... -s wrk.lua URL -- FILE: POSTs the lines of FILE, one after the other.
local requests, turn = {}, 0

function init(arguments)
   for line in io.lines(arguments[1]) do
      requests[#requests + 1] = wrk.format("POST", nil, { ["Content-Type"] = "application/json" }, line)
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end
