-- Sends verification requests to Sealjar, for sealjar-guard.conf in this directory. Only a response 200 lets a request pass, with
-- the identity headers of that response and without Sealjar's cookies. A browser that opens a page is redirected to the login
-- page.

local http = require "socket.http"
http.TIMEOUT = 5

local identity = {
    "Remote-User", "Remote-Name", "Remote-Groups", "Remote-Email", "Remote-Session-Deadline",
    "X-Auth-Request-User", "X-Auth-Request-Name", "X-Auth-Request-Groups", "X-Auth-Request-Email",
}
-- The header fields of the client that Sealjar needs. No other field is sent to it.
local forwarded = {
    "Host", "Cookie", "Accept", "Origin", "Referer", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site",
    "Sec-WebSocket-Key", "Access-Control-Request-Method", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
}
local ours = {
    ["__Host-sealjar"] = true, ["__Host-sealjar-form"] = true, ["__Host-sealjar-proof"] = true, ["__Secure-sealjar"] = true,
}
-- Header fields that only the proxy may set.
local reserved = { "^remote%-", "^x%-auth%-request%-", "^x%-original%-", "^x%-forwarded", "^forwarded$", "^x%-real%-ip$" }
-- Tokens of Connection that Apache itself uses.
local connection = { ["close"] = true, ["keep-alive"] = true, ["upgrade"] = true }
-- Parts of a path that an application could interpret in another way than Apache.
local ambiguous = { "//", "/%.%.?/", "/%.%.?$", "[\\;#]", "%%2[ef53]", "%%3[bf]", "%%5c" }

-- Returns true if one of the patterns matches, and otherwise nil.
local function matches(text, patterns)
    for _, pattern in ipairs(patterns) do
        if text:find(pattern) then
            return true
        end
    end
end

-- Removes header fields that a client must not send. CGI and PHP read Remote.User and Remote_User as Remote-User, so only
-- letters, digits and "-" are allowed in names.
local function strip_headers(r)
    for name in pairs(r:headers_in_table()) do
        local lower = name:lower()
        if lower:find("[^a-z0-9-]") or matches(lower, reserved) then
            r.headers_in[name] = nil
        end
    end
end

-- Removes most tokens of Connection. The next server removes the header fields that Connection lists, so a client must not list
-- ours. A client may switch only to WebSocket: over another protocol, such as h2c, it could send requests that Sealjar does not
-- verify.
local function strip_connection(r)
    local is_websocket = (r.headers_in["Upgrade"] or ""):lower() == "websocket"
    if not is_websocket then
        r.headers_in["Upgrade"] = nil
    end
    local kept = {}
    for token in (r.headers_in["Connection"] or ""):lower():gmatch("[^%s,]+") do
        if connection[token] and (is_websocket or token ~= "upgrade") then
            kept[#kept + 1] = token
        end
    end
    r.headers_in["Connection"] = kept[1] and table.concat(kept, ", ")
end

-- Removes Sealjar's cookies. Apache joins several Cookie fields with commas, so both ; and , are separators.
local function strip_cookies(r)
    local kept = {}
    for pair, separator in (r.headers_in["Cookie"] or ""):gmatch("([^;,]*)([;,]?)") do
        if not ours[pair:match("^%s*([^=%s]*)")] then
            kept[#kept + 1] = pair .. separator
        end
    end
    r.headers_in["Cookie"] = table.concat(kept):gsub("^[%s;,]+", ""):match("^.*[^%s;,]")
end

-- Sets the forwarded fields for Sealjar and the application.
local function set_forwarded_fields(r)
    r.headers_in["X-Forwarded-For"] = r.useragent_ip
    r.headers_in["X-Forwarded-Proto"] = r.is_https and "https" or "http"
    r.headers_in["X-Forwarded-Host"] = r.headers_in["Host"]
end

-- Returns whether a browser opens a page. If a service worker of the application opens it, the mode is same-origin, or the
-- destination is empty. The destination of a download is empty, too, but its Accept does not contain text/html.
local function is_navigation(r)
    local mode = r.headers_in["Sec-Fetch-Mode"]
    if mode == "navigate" and r.headers_in["Sec-Fetch-Dest"] ~= "empty" then
        return true
    end
    local names_html = (r.headers_in["Accept"] or ""):find("text/html", 1, true)
    return (not mode or mode == "navigate" or mode == "same-origin") and names_html
end

-- Returns whether the path is public, and cannot be interpreted as another path.
local function is_public(r)
    return r.subprocess_env["SEALJAR_PUBLIC"] and not matches(r.unparsed_uri:lower():match("^[^?]*"), ambiguous)
end

-- Sends the verification request. Returns the status and the header fields of the response.
local function send_verification(r, sealjar)
    local fields = { ["X-Forwarded-Method"] = r.method, ["X-Forwarded-Uri"] = r.unparsed_uri }
    for _, name in ipairs(forwarded) do
        fields[name] = r.headers_in[name]
    end
    local url = sealjar .. "/auth/verify/" .. (r.subprocess_env["SEALJAR_RULES"] or "-")
    local _, status, response = http.request({ url = url, headers = fields, redirect = false })
    -- If there are no header fields, there was no HTTP response, and `status` is an error message.
    return response and status, response
end

-- Returns OK, or the status of the refusal.
local function decide(r)
    local target = r.filename or ""
    -- This is a subrequest, an internal redirect or an error document. The configuration of Apache has chosen its target, and not
    -- the client. A file is allowed. An application is refused: other rules may apply to it, and the session cookie for their
    -- verification has been removed already.
    if not r.is_initial_req then
        if (r.subprocess_env["REDIRECT_STATUS"] or "200") ~= "200" then
            strip_headers(r)
        end
        return target:find("^proxy:") and 403 or apache2.OK
    end

    -- An application may read the data after a CONNECT as further requests, which Sealjar has not verified.
    if r.method == "CONNECT" then
        return 405
    end

    local sealjar = r.subprocess_env["SEALJAR"]
    strip_headers(r)
    strip_connection(r)
    set_forwarded_fields(r)
    -- Requests to Sealjar itself are recognized by their target, so the spelling of the path does not matter.
    if target:find("proxy:" .. sealjar .. "/", 1, true) == 1 then
        return apache2.OK
    end
    if is_public(r) then
        strip_cookies(r)
        return apache2.OK
    end

    -- mod_cache answers from its cache before this code runs, so it must not store responses that need a session.
    r.subprocess_env["no-cache"] = "1"
    local status, response = send_verification(r, sealjar)
    if status == 200 then
        for _, name in ipairs(identity) do
            r.headers_in[name] = response[name:lower()]
        end
        strip_cookies(r)
        -- The cookie of a renewed session. A shared cache must not store it, even if the application allows it to store the
        -- response.
        if response["set-cookie"] then
            r.err_headers_out["Set-Cookie"] = response["set-cookie"]
            r.err_headers_out["Cache-Control"] = "private"
        end
        return apache2.OK
    elseif status == 401 then
        r.err_headers_out["Location"] = response["location"]
        return is_navigation(r) and response["location"] and 303 or 401
    end
    return status == 403 and 403 or 503
end

-- The hook that Apache calls for each request.
function verify(r)
    local status = decide(r)
    if status ~= apache2.OK then
        r.err_headers_out["Cache-Control"] = "no-store"
    end
    return status
end
