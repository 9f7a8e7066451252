-- Asks Sealjar about a request, for sealjar.conf beside this file. Only an answer of 200 lets the request go on, with the
-- identity headers of that answer and without Sealjar's cookies. A person who opens a page is sent to sign in.

local http = require "socket.http"
http.TIMEOUT = 5

local sealjar = "http://127.0.0.1:8080/auth/"
local identity = {
    "Remote-User", "Remote-Name", "Remote-Groups", "Remote-Email", "Remote-Session-Deadline",
    "X-Auth-Request-User", "X-Auth-Request-Name", "X-Auth-Request-Groups", "X-Auth-Request-Email",
}
-- What Sealjar needs to know of the client's own headers: nothing else is passed on.
local asked = { "Host", "Cookie", "Accept", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest" }
local ours = { ["__Host-sealjar"] = true, ["__Host-sealjar-form"] = true, ["__Secure-sealjar"] = true }

-- Remote_User is Remote-User to many applications, and so is every other mixture.
local function strip_identity(r)
    for name in pairs(r:headers_in_table()) do
        local plain = name:lower():gsub("_", "-")
        if plain:find("^remote%-") or plain:find("^x%-auth%-request%-") then
            r.headers_in[name] = nil
        end
    end
end

-- Apache joins several Cookie fields with commas, so both ; and , separate.
local function strip_cookies(r)
    local kept = {}
    for pair, separator in (r.headers_in["Cookie"] or ""):gmatch("([^;,]*)([;,]?)") do
        if not ours[pair:match("^%s*([^=%s]*)")] then
            kept[#kept + 1] = pair .. separator
        end
    end
    local cookies = table.concat(kept):gsub("^[%s;,]+", ""):gsub("[%s;,]+$", "")
    r.headers_in["Cookie"] = cookies ~= "" and cookies or nil
end

local function navigates(r)
    local mode = r.headers_in["Sec-Fetch-Mode"]
    return mode == "navigate" or not mode and (r.headers_in["Accept"] or ""):find("text/html", 1, true)
end

function verify(r)
    if r.filename:sub(1, #("proxy:" .. sealjar)) == "proxy:" .. sealjar then
        strip_identity(r)
        return apache2.OK
    end
    local question = {
        ["X-Forwarded-For"] = r.useragent_ip,
        ["X-Forwarded-Proto"] = r.is_https and "https" or "http",
        ["X-Forwarded-Host"] = r.headers_in["Host"],
        ["X-Forwarded-Method"] = r.method,
        ["X-Forwarded-Uri"] = r.unparsed_uri,
    }
    for _, name in ipairs(asked) do
        question[name] = r.headers_in[name]
    end
    local url = sealjar .. "verify?" .. (r.subprocess_env["SEALJAR_RULES"] or "")
    local _, status, answer = http.request({ url = url, headers = question, redirect = false })

    if status == 200 then
        strip_identity(r)
        for _, name in ipairs(identity) do
            r.headers_in[name] = answer[name:lower()]
        end
        strip_cookies(r)
        -- A renewed session's cookie.
        r.err_headers_out["Set-Cookie"] = answer["set-cookie"]
        return apache2.OK
    elseif status == 401 then
        r.err_headers_out["Location"] = answer["location"]
        return navigates(r) and answer["location"] and 303 or 401
    end
    return status == 403 and 403 or 503
end
