-- Asks Sealjar about a request, for haproxy.cfg beside this file. Only an answer of 200 lets the request go on, with the
-- identity headers of that answer and without Sealjar's cookies; any other answer becomes the client's, and none becomes
-- 503.

local identity = {
    "remote-user", "remote-name", "remote-groups", "remote-email", "remote-session-deadline",
    "x-auth-request-user", "x-auth-request-name", "x-auth-request-groups", "x-auth-request-email",
}
-- What Sealjar needs to know of the client's own headers: nothing else is passed on.
local asked = {
    "host", "cookie", "accept", "origin", "referer", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest",
    "access-control-request-method", "sec-websocket-key", "upgrade", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
}
local ours = {
    ["__Host-sealjar"] = true, ["__Host-sealjar-form"] = true, ["__Host-sealjar-proof"] = true,
    ["__Secure-sealjar"] = true,
}
local hop_by_hop = { connection = true, ["transfer-encoding"] = true, ["keep-alive"] = true }

-- HAProxy counts a header's values from 0.
local function values(headers, name)
    local list = {}
    for index = 0, #(headers[name] or {}) do
        list[#list + 1] = headers[name] and headers[name][index]
    end
    return list
end

local function without_our_cookies(headers)
    local kept = {}
    for _, field in ipairs(values(headers, "cookie")) do
        for pair in field:gmatch("[^;]+") do
            pair = pair:match("^%s*(.*)")
            if pair ~= "" and not ours[pair:match("^[^=%s]*")] then
                kept[#kept + 1] = pair
            end
        end
    end
    return table.concat(kept, "; ")
end

-- Lets the request go on, as the request of whom `answer` names.
local function allow(txn, headers, answer)
    for _, name in ipairs(identity) do
        txn.http:req_set_header(name, values(answer, name)[1] or "")
    end
    local cookies = without_our_cookies(headers)
    txn.http:req_del_header("cookie")
    if cookies ~= "" then
        txn.http:req_set_header("cookie", cookies)
    end
    local renewal = values(answer, "set-cookie")[1]
    if renewal then
        txn:set_var("txn.sealjar_renewal", renewal)
    end
    txn:set_var("txn.sealjar_verdict", "allowed")
end

-- lua.sealjar URL RULES: asks the Sealjar at URL, with the rules of the whole site. Of several such lines, the first whose
-- condition holds decides: a later one, which may have fewer rules, does nothing.
core.register_action("sealjar", { "http-req" }, function(txn, url, rules)
    if txn:get_var("txn.sealjar_verdict") then
        return
    end
    txn:set_var("txn.sealjar_verdict", "asked")
    local headers = txn.http:req_get_headers()
    local all = (txn:get_var("txn.sealjar_rules") or "") .. rules
    if all == "public/" .. rules then
        return allow(txn, headers, {})
    end

    local question = { ["x-forwarded-method"] = { txn.f:method() }, ["x-forwarded-uri"] = { txn.f:pathq() } }
    for _, name in ipairs(asked) do
        local list = values(headers, name)
        if #list > 0 then
            question[name] = list
        end
    end
    -- HAProxy asks up to four times, so it waits for 5 seconds at most.
    local answer = core.httpclient():get({ url = url .. "/auth/verify/redirect/" .. all, headers = question, timeout = 1250 })
    if answer and answer.status == 200 then
        allow(txn, headers, answer.headers)
    elseif answer and answer.status and answer.status > 200 then
        local fields = {}
        for name in pairs(answer.headers) do
            for _, value in ipairs(hop_by_hop[name] and {} or values(answer.headers, name)) do
                fields[#fields + 1] = name .. ":" .. value
            end
        end
        txn:set_var("txn.sealjar_status", answer.status)
        txn:set_var("txn.sealjar_fields", table.concat(fields, "\n"))
        txn:set_var("txn.sealjar_body", answer.body)
    end
end, 2)

-- Gives the client Sealjar's answer, or 503 if there is none. A service, because HAProxy then goes on reading an upload. After
-- txn:done() it would reset the stream over HTTP/2, and the client would report that instead of the answer.
core.register_service("sealjar_refuse", "http", function(applet)
    local body = applet:get_var("txn.sealjar_body") or ""
    applet:set_status(tonumber(applet:get_var("txn.sealjar_status")) or 503)
    for name, value in (applet:get_var("txn.sealjar_fields") or "cache-control:no-store"):gmatch("([^:\n]+):([^\n]*)") do
        applet:add_header(name, value)
    end
    applet:start_response()
    if applet.method ~= "HEAD" then
        applet:send(body)
    end
end)

-- A path in lower case and decoded; and the same with "//" and ".." resolved, and without a slash at the end.
local function readings(path)
    local decoded = path:gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end):lower()
    local segments = {}
    for segment in decoded:gmatch("[^/]+") do
        if segment == ".." then
            table.remove(segments)
        elseif segment ~= "." then
            segments[#segments + 1] = "/" .. segment
        end
    end
    return decoded, table.concat(segments)
end

-- lua.sealjar_path PATH RULES: adds rules to those of the site, for PATH and all paths below it. Any path that some application
-- takes for one of these counts: without case, decoded, and with "//" and ".." as they are and resolved. Where an application
-- might drop ";x", take "\" for "/", or decode twice, the rules are added to any path.
core.register_action("sealjar_path", { "http-req" }, function(txn, path, rules)
    -- A line below those of lua.sealjar comes too late. Nobody gets in then, whatever the path, so that the mistake is seen.
    if txn:get_var("txn.sealjar_verdict") then
        return txn:done(txn:reply({ status = 503, headers = { ["cache-control"] = { "no-store" } } }))
    end
    local decoded, resolved = readings(txn.f:path() or "")
    local _, prefix = readings(path)
    prefix = prefix .. "/"
    local function below(one)
        return (one .. "/"):sub(1, #prefix) == prefix
    end
    if decoded:find("[%c;\\%%#]") or below(decoded) or below(resolved) then
        txn:set_var("txn.sealjar_rules", rules .. "/" .. (txn:get_var("txn.sealjar_rules") or ""))
    end
end, 2)

-- lua.sealjar_public PATH: everybody may see the paths below PATH. Sealjar is still asked about each path that an application
-- might take for another one: with "//", "/./" or "/../", with ";" or "\", or with "%" for anything but UTF-8, a space or one of
-- !"$&'()*+,-
core.register_action("sealjar_public", { "http-req" }, function(txn, path)
    local sent = (txn.f:path() or "") .. "/"
    local rest = sent:sub(#path + 1):gsub("%%2[0-246-9A-Da-d]", "x"):gsub("%%[89A-Fa-f]%x", "x")
    local odd = rest:find("//.") or rest:find("/%.%.?/") or rest:find("[;\\%%#]")
    if sent:sub(1, #path) == path and rest:sub(1, 1) == "/" and not odd then
        txn:set_var("txn.sealjar_rules", "public/" .. (txn:get_var("txn.sealjar_rules") or ""))
    end
end, 1)

-- lua.sealjar_visitor(NETWORK, ...): the last address that is not of these networks, first of the client and then in
-- X-Forwarded-For. If that is no address, set-src changes nothing.
core.register_fetches("sealjar_visitor", function(txn, ...)
    local networks = { ... }
    local function is_theirs(text)
        local address = core.parse_addr(text)
        for _, network in ipairs(networks) do
            if address and core.match_addr(address, core.parse_addr(network)) then
                return true
            end
        end
    end
    local visitor, elements = txn.f:src(), {}
    for _, field in ipairs(values(txn.http:req_get_headers(), "x-forwarded-for")) do
        for element in (field .. ","):gmatch("([^,]*),") do
            elements[#elements + 1] = element:match("^%s*(%S*)")
        end
    end
    while is_theirs(visitor) do
        visitor = table.remove(elements) or ""
    end
    return visitor
end)
