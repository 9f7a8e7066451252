-- Asks Sealjar about a request, for haproxy.cfg beside this file. Only an answer of 200 lets the request go on, with the
-- identity headers of that answer and without Sealjar's cookies; any other answer becomes the client's, and none becomes
-- 503.

local identity = {
    "remote-user", "remote-name", "remote-groups", "remote-email", "remote-session-deadline",
    "x-auth-request-user", "x-auth-request-name", "x-auth-request-groups", "x-auth-request-email",
}
-- What Sealjar needs to know of the client's own headers: nothing else is passed on.
local asked = {
    "host", "cookie", "accept", "origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest",
    "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
}
local ours = { ["__Host-sealjar"] = true, ["__Host-sealjar-form"] = true, ["__Secure-sealjar"] = true }
local hop_by_hop = { connection = true, ["content-length"] = true, ["transfer-encoding"] = true, ["keep-alive"] = true }

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
            pair = pair:match("^%s*(.-)%s*$")
            if pair ~= "" and not ours[pair:match("^[^=%s]*")] then
                kept[#kept + 1] = pair
            end
        end
    end
    return table.concat(kept, "; ")
end

core.register_action("sealjar", { "http-req" }, function(txn, url)
    local headers = txn.http:req_get_headers()
    local question = { ["x-forwarded-method"] = { txn.f:method() }, ["x-forwarded-uri"] = { txn.f:pathq() } }
    for _, name in ipairs(asked) do
        local list = values(headers, name)
        if #list > 0 then
            question[name] = list
        end
    end

    local answer = core.httpclient():get({ url = url, headers = question, timeout = 5000 })
    if not answer or not answer.status or answer.status < 200 then
        txn:done(txn:reply({ status = 503 }))
    elseif answer.status ~= 200 then
        local reply = txn:reply({ status = answer.status, reason = answer.reason, body = answer.body })
        for name in pairs(answer.headers) do
            for _, value in ipairs(hop_by_hop[name] and {} or values(answer.headers, name)) do
                reply:add_header(name, value)
            end
        end
        txn:done(reply)
    end

    for _, name in ipairs(identity) do
        txn.http:req_set_header(name, values(answer.headers, name)[1] or "")
    end
    local cookies = without_our_cookies(headers)
    txn.http:req_del_header("cookie")
    if cookies ~= "" then
        txn.http:req_set_header("cookie", cookies)
    end
    local renewal = values(answer.headers, "set-cookie")[1]
    if renewal then
        txn:set_var("txn.sealjar_renewal", renewal)
    end
    txn:set_var("txn.sealjar_verdict", "allowed")
end, 1)
