//! Tables of return URLs that are accepted and refused.

use super::*;
use crate::web::hosts::Domain;
use crate::web::return_path::{MAX_BYTES, escaped_length};

fn hosts(domain: Option<&str>) -> Hosts {
    let origins = ["https://app.example.com", "https://auth.example.com:8443"];
    let origins = origins.map(|text| Origin::parse(text).expect("valid")).to_vec();
    Hosts::new(origins, domain.and_then(Domain::parse), Vec::new())
}

/// Parses the return URL of a request to the second host.
fn parse(text: &str, domain: Option<&str>) -> Option<String> {
    let own_origin = Origin::parse("https://auth.example.com:8443").expect("valid");
    ReturnUrl::parse(text, &own_origin, &hosts(domain)).map(|url| url.to_string())
}

#[test]
fn keeps_a_path_of_this_host_unchanged() {
    let long = format!("/{}", "x".repeat(MAX_BYTES - 1));
    for good in [
        "/",
        "/a",
        "/a/b?c=d&e=%2Ff",
        "/a?next=//evil.example",
        "/a?next=https://evil.example/",
        "/a//b",
        "/a:b@c",
        "/.well-known/x",
        "/a/%2e%2ex",
        "/%E2%82%AC#top",
        "/a%20b",
        "/a\"<>'`{|}",
        &long,
    ] {
        assert_eq!(parse(good, None).as_deref(), Some(good));
    }
}

/// In a query or fragment, a browser encodes only the characters in the percent-encode sets of the URL standard.
#[test]
fn accepts_the_characters_of_browsers_in_query_and_fragment() {
    let not_encoded = |encoded: &str| -> Vec<String> {
        let characters = (0x21..0x7f).map(char::from).filter(|character| !encoded.contains(*character));
        characters.map(String::from).collect()
    };
    let controls = (0..0x20).chain([0x7f]).flat_map(|byte| [format!("%{byte:02x}"), format!("%{byte:02X}")]);
    let controls: Vec<_> = controls.collect();
    for (start, characters) in
        [("/a?", not_encoded("\"#<>")), ("/?", not_encoded("\"#<>'")), ("/a#", not_encoded("\"<>`"))]
    {
        assert!(characters.contains(&"\\".to_owned()));
        for text in characters.iter().chain(&controls).map(String::as_str).chain(["%", "%zz", "%5c", "%2F%2f"]) {
            for url in
                [format!("{start}{text}"), format!("{start}{text}{text}evil.example/../x"), format!("{start}b={text}")]
            {
                assert_eq!(parse(&url, None).as_deref(), Some(&*url));
                let below = format!("https://app.example.com{url}");
                assert_eq!(parse(&below, Some("example.com")).as_deref(), Some(&*below));
            }
        }
    }
}

#[test]
fn keeps_only_the_path_of_a_url_of_this_host() {
    for domain in [None, Some("example.com")] {
        for (absolute, path) in [
            ("https://auth.example.com:8443/", "/"),
            ("http://auth.example.com:8443/a/b?c=d&e=%20#f", "/a/b?c=d&e=%20#f"),
            ("https://AUTH.example.com:8443/A", "/A"),
            ("https://auth.example.com:8443", "/"),
            ("https://auth.example.com:8443?a=/b", "/?a=/b"),
            ("https://auth.example.com:8443#a", "/#a"),
        ] {
            assert_eq!(parse(absolute, domain).as_deref(), Some(path), "{absolute}");
        }
        for bad in [
            "http://auth.example.com/",
            "https://evil.example/@auth.example.com:8443/",
            "https://user@auth.example.com:8443/",
            "https://user:password@auth.example.com:8443/",
            "https://auth.example.com:8443@evil.example/",
            "https://auth.example.com:8443.evil.example/",
            "https://auth.example.com:8443\\@evil.example/",
            "https://auth.example.com:8443\\a",
            "https://auth.example.com:08443/",
            "https://auth.example.com.:8443/",
            "https:///auth.example.com:8443/",
            "https:/auth.example.com:8443/",
            "https:auth.example.com:8443/",
            "//auth.example.com:8443/",
            "HTTPS://auth.example.com:8443/",
            "ftp://auth.example.com:8443/",
            "wss://auth.example.com:8443/",
            "https://auth.example.com:8443//evil.example",
            "https://auth.example.com:8443/\\evil.example",
            "https://auth.example.com:8443/%2fevil.example",
            "https://auth.example.com:8443/%5cevil.example",
            "https://auth.example.com:8443/..//evil.example",
            "https://auth.example.com:8443/a%0d%0ab",
            "https://auth.example.com:8443/a b",
            " https://auth.example.com:8443/",
        ] {
            assert_eq!(parse(bad, domain), None, "{bad}");
        }
    }
    let default_port = Origin::parse("https://app.example.com").expect("valid");
    for (absolute, path) in [
        ("http://app.example.com/x", Some("/x")),
        ("http://app.example.com:443/x", Some("/x")),
        ("http://app.example.com:80/x", None),
    ] {
        let parsed = ReturnUrl::parse(absolute, &default_port, &hosts(None));
        assert_eq!(parsed.as_ref().map(ReturnUrl::as_str), path, "{absolute}");
    }
}

#[test]
fn the_length_limit_does_not_count_this_host() {
    let longest = format!("/{}", "x".repeat(MAX_BYTES - 1));
    assert_eq!(parse(&format!("https://auth.example.com:8443{longest}"), None), Some(longest.clone()));
    assert_eq!(parse(&format!("https://auth.example.com:8443{longest}x"), None), None);
    assert_eq!(parse(&format!("https://app.example.com{longest}"), Some("example.com")), None);
}

#[test]
fn home_is_a_path_or_a_url_with_a_safe_scheme() {
    for good in [
        "/",
        "/app?x=\\%0a#y",
        "/auth/status",
        "/auth/status?x",
        "/authors",
        "https://app.example.com/",
        "https://app.example.com:8443/a?b#c",
        "http://localhost:3000/",
        "http://127.0.0.1/",
    ] {
        assert_eq!(ReturnUrl::home(good).as_ref().map(ReturnUrl::as_str), Some(good));
    }
    for bad in [
        "",
        "app",
        "app.example.com",
        "app.example.com/",
        "//app.example.com/",
        "/\\app.example.com",
        "/a/../b",
        "/a b",
        "/a%0d%0ab",
        "/\u{e9}",
        "/auth",
        "/auth/",
        "/auth/login",
        "/auth/login?rd=/",
        "/auth/status/",
        "https://app.example.com",
        "https://app.example.com?a",
        "https://app.example.com/auth/login",
        "https://app.example.com//a",
        "https://app.example.com/a b",
        "https://user@app.example.com/",
        "https://app.example.com\\/",
        "https:///a",
        "http://app.example.com/",
        "ftp://app.example.com/",
        "javascript:alert(1)",
        "javascript://app.example.com/%0aalert(1)",
    ] {
        assert_eq!(ReturnUrl::home(bad), None, "{bad:?}");
    }
}

#[test]
fn refuses_a_url_that_html_escaping_makes_too_long() {
    for special in ["\"", "&", "'", "<", ">"] {
        let fits = format!("/{}{}", "x".repeat(MAX_BYTES - 1 - 128), special.repeat(128));
        let too_long = fits.replacen('x', special, 1);
        assert!(parse(&fits, None).is_some(), "{special}");
        assert_eq!(parse(&too_long, None), None, "{special}");
        assert_eq!(parse(&format!("/{}", special.repeat(MAX_BYTES - 1)), None), None);
    }
}

#[test]
fn the_escaped_length_matches_the_template_engine() {
    use askama::filters::{Html, escape};
    let all_characters: String = (0x21..0x7f).map(char::from).collect();
    let escaped = escape(&all_characters, Html).expect("a filter that cannot fail").to_string();
    assert_eq!(escaped_length(&all_characters), escaped.len());
}

#[test]
fn refuses_urls_with_another_host_or_a_second_header_field() {
    let long = format!("/{}", "x".repeat(MAX_BYTES));
    for bad in [
        "",
        "a",
        "?a",
        "#a",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "\\/evil.example",
        "/a\\b",
        "/%2fevil.example",
        "/%2Fevil.example",
        "/%5cevil.example",
        "/%5Cevil.example",
        "/.//evil.example",
        "/..//evil.example",
        "/%2e//evil.example",
        "/a/../..//evil.example",
        "/a/%2E%2e/b",
        "https:evil.example",
        "https:/evil.example",
        "https://evil.example",
        "https://app.example.com",
        "https://app.example.com/",
        "https://good@evil.example/",
        "http://evil.example/",
        "HTTPS://evil.example/",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://evil.example/",
        " /a",
        "/a b",
        "/a\r\nSet-Cookie: x=y",
        "/a\nb",
        "/a\tb",
        "\t/a",
        "/\t/evil.example",
        "/\n/evil.example",
        "/a%0d%0aSet-Cookie:%20x=y",
        "/a%0Ab",
        "/a%09b",
        "/a%00",
        "/a%1f",
        "/a%7F",
        "/a%0d?b",
        "/a\\b?c",
        "/a\\b#c",
        "/\u{e9}",
        "/a\u{0}",
        "/\u{2028}",
        "\u{ff0f}\u{ff0f}evil.example",
        &long,
    ] {
        assert_eq!(parse(bad, None), None, "{bad:?}");
    }
}

#[test]
fn a_cookie_domain_allows_the_hosts_below_it() {
    let domain = Some("example.com");
    for good in [
        "/a",
        "https://app.example.com/",
        "https://other.example.com/x?y",
        "https://auth.example.com/x",
        "https://example.com/",
    ] {
        assert_eq!(parse(good, domain).as_deref(), Some(good));
    }
    for bad in [
        "https://evil.example/",
        "https://badexample.com/",
        "https://example.com.evil.example/",
        "https://good@evil.example/",
        "https://evil.example/@app.example.com/",
        "https://user@app.example.com/",
        "https://app.example.com\\@evil.example/",
        "https://app.example.com",
        "https://app.example.com?x",
        "https://app.example.com#/",
        "http://app.example.com/",
        "https:app.example.com/",
        "https://app.example.com//%0d%0a",
        "//app.example.com/",
    ] {
        assert_eq!(parse(bad, domain), None, "{bad}");
    }
}
