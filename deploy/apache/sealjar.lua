-- Asks Sealjar about a request, for sealjar-guard.conf beside this file. Only an answer of 200 lets the request go on, with the
-- identity headers of that answer and without Sealjar's cookies. A person who opens a page is sent to log in.

local http = require "socket.http"
http.TIMEOUT = 5

local identity = {
    "Remote-User", "Remote-Name", "Remote-Groups", "Remote-Email", "Remote-Session-Deadline",
    "X-Auth-Request-User", "X-Auth-Request-Name", "X-Auth-Request-Groups", "X-Auth-Request-Email",
}
-- The headers that Sealjar needs to know: nothing else of the client's is passed on.
local asked = {
    "Host", "Cookie", "Accept", "Origin", "Referer", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site",
    "Sec-WebSocket-Key", "Access-Control-Request-Method", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
}
local ours = {
    ["__Host-sealjar"] = true, ["__Host-sealjar-form"] = true, ["__Host-sealjar-proof"] = true, ["__Secure-sealjar"] = true,
}
-- Headers that only the proxy sets.
local reserved = { "^remote%-", "^x%-auth%-request%-", "^x%-original%-", "^x%-forwarded", "^forwarded$", "^x%-real%-ip$" }
-- Tokens of Connection that Apache itself acts on.
local connection = { ["close"] = true, ["keep-alive"] = true, ["upgrade"] = true }
-- What an application could read in another way than Apache.
local ambiguous = { "//", "/%.%.?/", "/%.%.?$", "[\\;#]", "%%2[ef53]", "%%3[bf]", "%%5c" }

-- Returns true or nil.
local function matches(text, patterns)
    for _, pattern in ipairs(patterns) do
        if text:find(pattern) then
            return true
        end
    end
end

-- CGI and its like read Remote.User and Remote_User as Remote-User. So a name has letters, digits and "-" only.
local function strip_headers(r)
    for name in pairs(r:headers_in_table()) do
        local lower = name:lower()
        if lower:find("[^a-z0-9-]") or matches(lower, reserved) then
            r.headers_in[name] = nil
        end
    end
end

-- The next server drops the headers that Connection names, so a client must not name ours. WebSocket is the only protocol that a
-- client may switch to: over another one, such as h2c, it could send requests that Sealjar is not asked about.
local function strip_connection(r)
    local switches = (r.headers_in["Upgrade"] or ""):lower() == "websocket"
    if not switches then
        r.headers_in["Upgrade"] = nil
    end
    local kept = {}
    for token in (r.headers_in["Connection"] or ""):lower():gmatch("[^%s,]+") do
        if connection[token] and (switches or token ~= "upgrade") then
            kept[#kept + 1] = token
        end
    end
    r.headers_in["Connection"] = kept[1] and table.concat(kept, ", ")
end

-- Apache joins several Cookie fields with commas, so both ; and , separate.
local function strip_cookies(r)
    local kept = {}
    for pair, separator in (r.headers_in["Cookie"] or ""):gmatch("([^;,]*)([;,]?)") do
        if not ours[pair:match("^%s*([^=%s]*)")] then
            kept[#kept + 1] = pair .. separator
        end
    end
    r.headers_in["Cookie"] = table.concat(kept):gsub("^[%s;,]+", ""):match("^.*[^%s;,]")
end

local function set_facts(r)
    r.headers_in["X-Forwarded-For"] = r.useragent_ip
    r.headers_in["X-Forwarded-Proto"] = r.is_https and "https" or "http"
    r.headers_in["X-Forwarded-Host"] = r.headers_in["Host"]
end

-- Whether a browser opens a page. A service worker of the application may open it (the mode same-origin, or the destination empty). A
-- download has the destination empty, too, and does not name HTML.
local function navigates(r)
    local mode = r.headers_in["Sec-Fetch-Mode"]
    if mode == "navigate" and r.headers_in["Sec-Fetch-Dest"] ~= "empty" then
        return true
    end
    local names_html = (r.headers_in["Accept"] or ""):find("text/html", 1, true)
    return (not mode or mode == "navigate" or mode == "same-origin") and names_html
end

local function is_public(r)
    return r.subprocess_env["SEALJAR_PUBLIC"] and not matches(r.unparsed_uri:lower():match("^[^?]*"), ambiguous)
end

local function ask(r, sealjar)
    local question = { ["X-Forwarded-Method"] = r.method, ["X-Forwarded-Uri"] = r.unparsed_uri }
    for _, name in ipairs(asked) do
        question[name] = r.headers_in[name]
    end
    local url = sealjar .. "/auth/verify/" .. (r.subprocess_env["SEALJAR_RULES"] or "-")
    local _, status, answer = http.request({ url = url, headers = question, redirect = false })
    -- Without headers it was no answer of HTTP.
    return answer and status, answer
end

-- Returns OK, or the status of the refusal.
local function decide(r)
    local target = r.filename or ""
    -- A subrequest, an internal redirect or an error document. Apache's own configuration chose it, and no client. It may be a
    -- file. It may not be an application: its rules may be others, and the cookie that could answer for them is gone.
    if not r.is_initial_req then
        if (r.subprocess_env["REDIRECT_STATUS"] or "200") ~= "200" then
            strip_headers(r)
        end
        return target:find("^proxy:") and 403 or apache2.OK
    end

    -- An application may ignore the body of a CONNECT, and take it for further requests, about which Sealjar was not asked.
    if r.method == "CONNECT" then
        return 405
    end

    local sealjar = r.subprocess_env["SEALJAR"]
    strip_headers(r)
    strip_connection(r)
    set_facts(r)
    -- Sealjar itself is known by where the request is on its way to, however its path is written.
    if target:find("proxy:" .. sealjar .. "/", 1, true) == 1 then
        return apache2.OK
    end
    if is_public(r) then
        strip_cookies(r)
        return apache2.OK
    end

    -- mod_cache answers before this file is asked, so it must not store what needs a session.
    r.subprocess_env["no-cache"] = "1"
    local status, answer = ask(r, sealjar)
    if status == 200 then
        for _, name in ipairs(identity) do
            r.headers_in[name] = answer[name:lower()]
        end
        strip_cookies(r)
        -- A renewed session's cookie. A cache that others use must not store it, whatever the application says of its answer.
        if answer["set-cookie"] then
            r.err_headers_out["Set-Cookie"] = answer["set-cookie"]
            r.err_headers_out["Cache-Control"] = "private"
        end
        return apache2.OK
    elseif status == 401 then
        r.err_headers_out["Location"] = answer["location"]
        return navigates(r) and answer["location"] and 303 or 401
    end
    return status == 403 and 403 or 503
end

function verify(r)
    local status = decide(r)
    if status ~= apache2.OK then
        r.err_headers_out["Cache-Control"] = "no-store"
    end
    return status
end
