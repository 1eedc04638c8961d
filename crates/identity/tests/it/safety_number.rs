use identity::safety_number;
use proptest::prelude::*;
use protocol::{PublicKey, ServerName, UserName};

use crate::common::{server, user};

fn key(bytes: [u8; 32]) -> PublicKey {
    PublicKey::from_bytes(bytes)
}

#[test]
fn numbers_worked_out_apart_from_this_code() {
    // From the description of `safety_number`, by ten lines of Python with hashlib.
    let alice = key(std::array::from_fn(|i| i as u8));
    let bob = key(std::array::from_fn(|i| 32 + i as u8));
    let number = safety_number(&server("relay.example"), (&user("alice"), &alice), (&user("bob"), &bob));
    assert_eq!(number.to_string(), "21014 62614 38678 85693 88701 51511 74366 74579 66959 86508 99388 07873");

    let (a, x) = (user("a"), user(&"x".repeat(32)));
    let number = safety_number(&server("127.0.0.1"), (&x, &key([0; 32])), (&a, &key([255; 32])));
    assert_eq!(number.to_string(), "06855 23534 63631 05925 40462 78120 21082 78438 59757 66196 22993 91059");
    assert!(format!("{number:?}").contains("06855 23534"), "it is no secret");
}

#[test]
fn what_belongs_to_one_field_cannot_pass_for_another() {
    // The same bytes one after the other, cut differently.
    let one = safety_number(&server("ab"), (&user("c"), &key([1; 32])), (&user("d"), &key([2; 32])));
    let other = safety_number(&server("a"), (&user("bc"), &key([1; 32])), (&user("d"), &key([2; 32])));
    assert_ne!(one, other);
}

fn user_name() -> impl Strategy<Value = UserName> {
    "[a-z0-9][a-z0-9._-]{0,31}".prop_map(|name| user(&name))
}

fn server_name() -> impl Strategy<Value = ServerName> {
    "[a-z0-9][a-z0-9.-]{0,40}".prop_map(|name| server(&name))
}

type Party = (UserName, [u8; 32]);

fn party() -> impl Strategy<Value = Party> {
    (user_name(), any::<[u8; 32]>())
}

fn number(at: &ServerName, one: &Party, other: &Party) -> String {
    safety_number(at, (&one.0, &key(one.1)), (&other.0, &key(other.1))).to_string()
}

proptest! {
    #[test]
    fn both_sides_see_the_same_twelve_groups(at in server_name(), one in party(), other in party()) {
        let shown = number(&at, &one, &other);
        prop_assert_eq!(&shown, &number(&at, &other, &one));
        let groups: Vec<&str> = shown.split(' ').collect();
        prop_assert_eq!(groups.len(), 12);
        prop_assert!(groups.iter().all(|group| group.len() == 5 && group.bytes().all(|b| b.is_ascii_digit())));
    }

    #[test]
    fn any_change_shows(
        at in server_name(), one in party(), other in party(),
        elsewhere in server_name(), renamed in user_name(), bit in 0..256usize,
    ) {
        let shown = number(&at, &one, &other);
        let mut rekeyed = one.clone();
        rekeyed.1[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(&shown, &number(&at, &rekeyed, &other));
        prop_assert_ne!(&shown, &number(&at, &other, &rekeyed));
        if elsewhere != at {
            prop_assert_ne!(&shown, &number(&elsewhere, &one, &other));
        }
        if renamed != one.0 {
            prop_assert_ne!(&shown, &number(&at, &(renamed, one.1), &other));
        }
        if one != other {
            // Each has the other's key: not the same as each having their own.
            let (swapped_one, swapped_other) = ((one.0.clone(), other.1), (other.0.clone(), one.1));
            if one.0 != other.0 && one.1 != other.1 {
                prop_assert_ne!(&shown, &number(&at, &swapped_one, &swapped_other));
            }
        }
    }
}
