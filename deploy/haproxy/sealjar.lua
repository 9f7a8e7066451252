-- Sends verification requests to Sealjar, for haproxy.cfg in this directory. Only a response 200 lets a request pass, with the
-- identity headers of that response and without Sealjar's cookies. Any other response is sent to the client. If there is none,
-- the client gets 503.

local identity = {
    "remote-user", "remote-name", "remote-groups", "remote-email", "remote-session-deadline",
    "x-auth-request-user", "x-auth-request-name", "x-auth-request-groups", "x-auth-request-email",
}
-- The header fields of the client that Sealjar needs. No other field is sent to it.
local forwarded = {
    "host", "cookie", "accept", "origin", "referer", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest",
    "access-control-request-method", "sec-websocket-key", "upgrade", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
}
local ours = {
    ["__Host-sealjar"] = true, ["__Host-sealjar-form"] = true, ["__Host-sealjar-proof"] = true,
    ["__Secure-sealjar"] = true,
}
local hop_by_hop = { connection = true, ["transfer-encoding"] = true, ["keep-alive"] = true }

-- Returns the values of a header field as a list. HAProxy numbers them from 0.
local function values(headers, name)
    local list = {}
    for index = 0, #(headers[name] or {}) do
        list[#list + 1] = headers[name] and headers[name][index]
    end
    return list
end

-- Returns the cookies of a request without those of Sealjar.
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

-- Lets the request pass, with the identity headers in `response`.
local function allow(txn, headers, response)
    for _, name in ipairs(identity) do
        txn.http:req_set_header(name, values(response, name)[1] or "")
    end
    local cookies = without_our_cookies(headers)
    txn.http:req_del_header("cookie")
    if cookies ~= "" then
        txn.http:req_set_header("cookie", cookies)
    end
    local renewal = values(response, "set-cookie")[1]
    if renewal then
        txn:set_var("txn.sealjar_renewal", renewal)
    end
    txn:set_var("txn.sealjar_verdict", "allowed")
end

-- lua.sealjar URL RULES: sends a verification request to the Sealjar at URL, with the rules of the whole site. If there are
-- several such lines, the first one whose condition is true decides. A later line, which may have fewer rules, does nothing.
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

    local fields = { ["x-forwarded-method"] = { txn.f:method() }, ["x-forwarded-uri"] = { txn.f:pathq() } }
    for _, name in ipairs(forwarded) do
        local list = values(headers, name)
        if #list > 0 then
            fields[name] = list
        end
    end
    -- HAProxy sends the request up to four times, so it waits for at most 5 seconds.
    local response = core.httpclient():get({ url = url .. "/auth/verify/redirect/" .. all, headers = fields, timeout = 1250 })
    if response and response.status == 200 then
        allow(txn, headers, response.headers)
    elseif response and response.status and response.status > 200 then
        local lines = {}
        for name in pairs(response.headers) do
            for _, value in ipairs(hop_by_hop[name] and {} or values(response.headers, name)) do
                lines[#lines + 1] = name .. ":" .. value
            end
        end
        txn:set_var("txn.sealjar_status", response.status)
        txn:set_var("txn.sealjar_fields", table.concat(lines, "\n"))
        txn:set_var("txn.sealjar_body", response.body)
    end
end, 2)

-- Sends Sealjar's response to the client, or 503 if there is none. This is a service, so that HAProxy continues to read an
-- upload. After txn:done(), HAProxy would reset the HTTP/2 stream, and the client would report the reset instead of the response.
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

-- Returns a path in lower case and decoded, and the same path with "//" and ".." resolved and without a slash at the end.
local function normalize(path)
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

-- lua.sealjar_path PATH RULES: adds rules to those of the site, for PATH and all paths below it. The rules apply to every path
-- that an application may read as one of these: in any case of letters, decoded, and with "//" and ".." both unchanged and
-- resolved. If an application might remove ";x", read "\" as "/", or decode twice, the rules apply to every such path.
core.register_action("sealjar_path", { "http-req" }, function(txn, path, rules)
    -- A line below those of lua.sealjar would have no effect. It refuses every request, so that the mistake is noticed.
    if txn:get_var("txn.sealjar_verdict") then
        return txn:done(txn:reply({ status = 503, headers = { ["cache-control"] = { "no-store" } } }))
    end
    local decoded, resolved = normalize(txn.f:path() or "")
    local _, prefix = normalize(path)
    prefix = prefix .. "/"
    local function is_below(candidate)
        return (candidate .. "/"):sub(1, #prefix) == prefix
    end
    if decoded:find("[%c;\\%%#]") or is_below(decoded) or is_below(resolved) then
        txn:set_var("txn.sealjar_rules", rules .. "/" .. (txn:get_var("txn.sealjar_rules") or ""))
    end
end, 2)

-- lua.sealjar_public PATH: makes PATH and the paths below it public. Sealjar still verifies requests for each path that an
-- application might read as another path. These contain "//", "/./" or "/../", ";" or "\", or a "%" that encodes anything other
-- than UTF-8, a space or one of !"$&'()*+,-
core.register_action("sealjar_public", { "http-req" }, function(txn, path)
    local sent = (txn.f:path() or "") .. "/"
    local rest = sent:sub(#path + 1):gsub("%%2[0-246-9A-Da-d]", "x"):gsub("%%[89A-Fa-f]%x", "x")
    local is_ambiguous = rest:find("//.") or rest:find("/%.%.?/") or rest:find("[;\\%%#]")
    if sent:sub(1, #path) == path and rest:sub(1, 1) == "/" and not is_ambiguous then
        txn:set_var("txn.sealjar_rules", "public/" .. (txn:get_var("txn.sealjar_rules") or ""))
    end
end, 1)

-- lua.sealjar_visitor(NETWORK, ...): returns the address of the client. It is the peer or, if the peer is in one of these
-- networks, the last element of X-Forwarded-For that is not in them. If this element is not an address, set-src changes nothing.
core.register_fetches("sealjar_visitor", function(txn, ...)
    local networks = { ... }
    local function is_proxy(text)
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
    while is_proxy(visitor) do
        visitor = table.remove(elements) or ""
    end
    return visitor
end)
