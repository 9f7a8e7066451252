use super::*;
use proptest::prelude::*;

const ALICE: Identity<'static> = Identity {
    sub: "s",
    account_generation: 4,
    global_generation: 5,
    login_name: "alice",
    display_name: "",
    email: "",
    roles: "admin,ops",
};

fn some_claims() -> Claims<'static> {
    Claims {
        sid: Sid::from_bytes([1; 16]),
        chain: Chain::from_bytes([2; 16]),
        renewals: 7,
        link: Link::from_bytes([4; 8]),
        parent: Link::from_bytes([5; 8]),
        site: Site::from_bytes([3; 8]),
        identity: ALICE,
        authenticated_at: UnixTime(100),
        sealed_at: UnixTime(100),
        idle_deadline: UnixTime(200),
        absolute_deadline: UnixTime(300),
        methods: Methods::PASSWORD,
        flags: Flags::REMEMBERED,
        app_data: b"app",
    }
}

#[test]
fn refuses_every_truncation_and_anything_left_over() {
    let mut bytes = some_claims().encode().expect("well formed");
    assert_eq!(Claims::decode(&bytes), Ok(some_claims()));
    for end in 0..bytes.len() {
        assert_eq!(Claims::decode(&bytes[..end]), Err(BadClaims), "cut at {end}");
    }
    bytes.push(0);
    assert_eq!(Claims::decode(&bytes), Err(BadClaims));
}

#[test]
fn refuses_a_length_past_the_end() {
    let bytes = some_claims().encode().expect("well formed");
    // Of the subject, the login name and the application's data; the first two are followed by more lengths.
    for at in [57, 61, bytes.len() - 4] {
        for length in [bytes.len() as u64, u64::MAX - 40, u64::MAX] {
            let mut longer = bytes[..at].to_vec();
            longer.extend(postcard::to_stdvec(&length).expect("encodes"));
            longer.extend(&bytes[at + 1..]);
            assert_eq!(Claims::decode(&longer), Err(BadClaims), "{length} at {at}");
        }
    }
}

#[test]
fn refuses_what_breaks_a_rule_both_ways() {
    let long = "x".repeat(2000);
    let of = |identity| Claims { identity, ..some_claims() };
    let broken = [
        of(Identity { sub: "", ..ALICE }),
        of(Identity { sub: &long[..65], ..ALICE }),
        of(Identity { sub: "a b", ..ALICE }),
        of(Identity { login_name: &long[..65], ..ALICE }),
        of(Identity { display_name: &long[..257], ..ALICE }),
        of(Identity { email: &long[..255], ..ALICE }),
        of(Identity { roles: &long[..1025], ..ALICE }),
        Claims { idle_deadline: UnixTime(301), ..some_claims() },
    ];
    for claims in broken {
        assert_eq!(claims.encode(), Err(BadClaims));
        let bytes = postcard::to_stdvec(&claims).expect("encodes");
        assert_eq!(Claims::decode(&bytes), Err(BadClaims));
    }
}

#[test]
fn no_text_ends_within_a_character() {
    let name = "x".repeat(0xa9);
    let claims = Claims { identity: Identity { login_name: "ab", display_name: &name, ..ALICE }, ..some_claims() };
    let mut bytes = claims.encode().expect("well formed");
    let end = bytes.windows(2).position(|pair| pair == b"ab").expect("the login name") + 1;
    assert_eq!(bytes[end + 1], 0xa9, "the length of the next text");
    bytes[end] = 0xc3;
    assert!(str::from_utf8(&bytes[end..end + 2]).is_ok());
    assert_eq!(Claims::decode(&bytes), Err(BadClaims));
}

#[test]
fn refuses_unknown_bits() {
    let bytes = some_claims().encode().expect("well formed");
    let methods = bytes.len() - 6;
    assert_eq!(bytes[methods..], *b"\x01\x01\x03app", "methods, flags, application data");
    for (at, known) in [(methods, 0b11_1111), (methods + 1, 1)] {
        for bits in 0..=u8::MAX {
            let mut changed = bytes.clone();
            changed[at] = bits;
            assert_eq!(Claims::decode(&changed).is_ok(), bits & !known == 0, "{bits:#b} at {at}");
        }
    }
}

#[test]
fn lists_methods() {
    let names = |bits| Methods::from_bits(bits).map(|methods| methods.names().collect::<Vec<_>>());
    assert_eq!(names(0), Some(vec![]));
    assert_eq!(names(0b1), Some(vec!["password"]));
    assert_eq!(names(0b11_1110), Some(vec!["totp", "recovery-code", "passkey", "passkey-verified", "link"]));
}

#[test]
fn lists_roles() {
    assert_eq!(ALICE.roles().collect::<Vec<_>>(), ["admin", "ops"]);
    assert_eq!(Identity { roles: "", ..ALICE }.roles().count(), 0);
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(
        sub in "[!-~]{1,64}", display_name in "\\PC{0,60}", generation in prop_oneof![0..300_u64, any::<u64>()],
        idle in prop_oneof![0..1_u64 << 36, 0..=u64::MAX / 2],
        more in 0..u64::MAX / 2, app_data in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let claims = Claims {
            identity: Identity { sub: &sub, display_name: &display_name, account_generation: generation, ..ALICE },
            idle_deadline: UnixTime(idle),
            absolute_deadline: UnixTime(idle + more),
            app_data: &app_data,
            ..some_claims()
        };
        let bytes = claims.encode().expect("well formed");
        prop_assert_eq!(Claims::decode(&bytes), Ok(claims));
    }

    #[test]
    fn no_text_but_utf_8_is_read(text in proptest::collection::vec(any::<u8>(), 0..6), generation in 0..300_u64) {
        let place = text.len();
        let login_name = "x".repeat(place);
        let identity = Identity { account_generation: generation, login_name: &login_name, ..ALICE };
        let claims = Claims { identity, ..some_claims() };
        let mut bytes = claims.encode().expect("well formed");
        let at = bytes.windows(place + 1).rposition(|window| window[0] as usize == place && window[1..].iter().all(|byte| *byte == b'x'));
        let at = at.expect("the login name") + 1;
        bytes[at..at + place].copy_from_slice(&text);
        prop_assert_eq!(Claims::decode(&bytes).is_ok(), str::from_utf8(&text).is_ok());
    }

    #[test]
    fn a_number_is_read_as_postcard_writes_it_and_in_no_longer_way(number: u64, bytes in "[\\x00-\\x7f]{0,11}") {
        let written = postcard::to_stdvec(&number).expect("encodes");
        prop_assert_eq!(Fields::of(&written).number(), Ok(number));
        let mut any: Vec<u8> = bytes.bytes().map(|byte| byte | 0x80).collect();
        any.last_mut().into_iter().for_each(|last| *last &= 0x7f);
        if let Ok(number) = Fields::of(&any).number() {
            prop_assert_eq!(any, postcard::to_stdvec(&number).expect("encodes"));
        }
    }

    #[test]
    fn instants_are_four_numbers(
        numbers in prop_oneof![[1_u64 << 28..1 << 35, 1 << 28..1 << 35, 1 << 28..1 << 35, 1 << 28..1 << 35], any::<[u64; 4]>()],
        place in 0..20_usize, byte: u8,
    ) {
        let mut bytes = postcard::to_stdvec(&numbers).expect("encodes");
        bytes.iter_mut().skip(place).take(1).for_each(|changed| *changed = byte);
        let (mut one_by_one, mut at_once) = (Fields::of(&bytes), Fields::of(&bytes));
        let expected: Result<Vec<_>, _> = (0..4).map(|_| one_by_one.number().map(UnixTime)).collect();
        prop_assert_eq!(at_once.instants().map(Vec::from), expected);
        prop_assert_eq!(at_once.at, one_by_one.at);
    }

    #[test]
    fn never_panics_on_arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Claims::decode(&bytes);
    }
}
