//! Tests of the claims: their encoding, the limits of the fields, and invalid bytes.

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
fn refuses_every_truncation_and_additional_bytes() {
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
    // Positions of the lengths of the subject, the login name and the application data. More lengths follow the first two.
    for position in [57, 61, bytes.len() - 4] {
        for length in [bytes.len() as u64, u64::MAX - 40, u64::MAX] {
            let mut longer = bytes[..position].to_vec();
            longer.extend(postcard::to_stdvec(&length).expect("encodes"));
            longer.extend(&bytes[position + 1..]);
            assert_eq!(Claims::decode(&longer), Err(BadClaims), "{length} at {position}");
        }
    }
}

#[test]
fn encoding_and_decoding_refuse_invalid_claims() {
    let long = "x".repeat(2000);
    let claims_of = |identity| Claims { identity, ..some_claims() };
    let invalid = [
        claims_of(Identity { sub: "", ..ALICE }),
        claims_of(Identity { sub: &long[..65], ..ALICE }),
        claims_of(Identity { sub: "a b", ..ALICE }),
        claims_of(Identity { login_name: &long[..65], ..ALICE }),
        claims_of(Identity { display_name: &long[..257], ..ALICE }),
        claims_of(Identity { email: &long[..255], ..ALICE }),
        claims_of(Identity { roles: &long[..1025], ..ALICE }),
        Claims { idle_deadline: UnixTime(301), ..some_claims() },
    ];
    for claims in invalid {
        assert_eq!(claims.encode(), Err(BadClaims));
        let bytes = postcard::to_stdvec(&claims).expect("encodes");
        assert_eq!(Claims::decode(&bytes), Err(BadClaims));
    }
}

#[test]
fn refuses_a_text_that_ends_within_a_character() {
    // The length 0xa9 of the display name completes a UTF-8 character that begins with 0xc3 in the login name.
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
    for (position, known) in [(methods, 0b11_1111), (methods + 1, 1)] {
        for bits in 0..=u8::MAX {
            let mut changed = bytes.clone();
            changed[position] = bits;
            assert_eq!(Claims::decode(&changed).is_ok(), bits & !known == 0, "{bits:#b} at {position}");
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
    fn decoding_returns_the_claims_that_were_encoded(
        sub in "[!-~]{1,64}", display_name in "\\PC{0,60}", generation in prop_oneof![0..300_u64, any::<u64>()],
        idle in prop_oneof![0..1_u64 << 36, 0..=u64::MAX / 2],
        difference in 0..u64::MAX / 2, app_data in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let claims = Claims {
            identity: Identity { sub: &sub, display_name: &display_name, account_generation: generation, ..ALICE },
            idle_deadline: UnixTime(idle),
            absolute_deadline: UnixTime(idle + difference),
            app_data: &app_data,
            ..some_claims()
        };
        let bytes = claims.encode().expect("well formed");
        prop_assert_eq!(Claims::decode(&bytes), Ok(claims));
    }

    #[test]
    fn refuses_a_text_that_is_not_utf_8(text in proptest::collection::vec(any::<u8>(), 0..6), generation in 0..300_u64) {
        let length = text.len();
        let login_name = "x".repeat(length);
        let identity = Identity { account_generation: generation, login_name: &login_name, ..ALICE };
        let claims = Claims { identity, ..some_claims() };
        let mut bytes = claims.encode().expect("well formed");
        let is_login_name = |window: &[u8]| window[0] as usize == length && window[1..].iter().all(|byte| *byte == b'x');
        let start = bytes.windows(length + 1).rposition(is_login_name).expect("the login name") + 1;
        bytes[start..start + length].copy_from_slice(&text);
        prop_assert_eq!(Claims::decode(&bytes).is_ok(), str::from_utf8(&text).is_ok());
    }

    #[test]
    fn accepts_only_the_encoding_of_a_number_that_postcard_writes(number: u64, bytes in "[\\x00-\\x7f]{0,11}") {
        let written = postcard::to_stdvec(&number).expect("encodes");
        prop_assert_eq!(FieldReader::new(&written).number(), Ok(number));
        // A varint with random bits, which may be longer than necessary.
        let mut varint: Vec<u8> = bytes.bytes().map(|byte| byte | 0x80).collect();
        varint.last_mut().into_iter().for_each(|last| *last &= 0x7f);
        if let Ok(number) = FieldReader::new(&varint).number() {
            prop_assert_eq!(varint, postcard::to_stdvec(&number).expect("encodes"));
        }
    }

    #[test]
    fn reads_four_instants_like_four_single_numbers(
        numbers in prop_oneof![[1_u64 << 28..1 << 35, 1 << 28..1 << 35, 1 << 28..1 << 35, 1 << 28..1 << 35], any::<[u64; 4]>()],
        position in 0..20_usize, byte: u8,
    ) {
        let mut bytes = postcard::to_stdvec(&numbers).expect("encodes");
        bytes.iter_mut().skip(position).take(1).for_each(|changed| *changed = byte);
        let mut single = FieldReader::new(&bytes);
        let mut together = FieldReader::new(&bytes);
        let expected: Result<Vec<_>, _> = (0..4).map(|_| single.number().map(UnixTime)).collect();
        prop_assert_eq!(together.instants().map(Vec::from), expected);
        prop_assert_eq!(together.position, single.position);
    }

    #[test]
    fn never_panics_on_arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Claims::decode(&bytes);
    }
}
