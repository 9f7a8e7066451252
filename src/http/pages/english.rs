//! The English texts of the pages.

use super::texts::{Common, ErrorText, Errors, Password, Reauthenticate, Session, SignIn, Texts, Times, Unit};

pub(super) static TEXTS: Texts = Texts {
    tag: "en",
    common: Common {
        error: "Error: ",
        development_mode: "Development mode:",
        plain_http: "cookies are sent over HTTP without encryption. Never use this outside your own machine.",
        login_name: "Login name",
        current_password: "Current password",
        sign_in: "Sign in",
        sign_out: "Sign out",
        home: "Go to the home page",
        your_session: "Your session",
    },
    sign_in: SignIn {
        signed_out: "You are signed out.",
        signed_in_as: "You are signed in as ",
        continue_or_change: ". Continue, or sign in with another account below.",
        continue_: "Continue",
        password: "Password",
        remember: "Keep me signed in",
        remember_hint: "Do not use this on a device that other people use.",
        out_of_date: "This page was out of date. Please sign in again.",
        without_cookie: "This page was open for too long, or your browser blocks the cookies of this site. Please try again.",
        cookies_blocked: "If you have just signed in, your browser blocks the cookies of this site. Allow them, and sign in again.",
    },
    session: Session {
        heading: "You are signed in",
        password_changed: "Your password is changed. Your other sessions have ended.",
        display_name: "Name",
        email: "Email",
        roles: "Roles",
        authenticated_at: "Signed in",
        idle_deadline: "Ends if not used",
        absolute_deadline: "Ends at the latest",
        when_the_browser_closes: "When the browser closes",
        stays_signed_in: "You stay signed in",
        signed_out: "You are signed out",
        sign_out_everywhere: "Sign out everywhere",
        everywhere_hint: "Ends your sessions in every browser and on every device, this one too.",
        change_password: "Change your password",
    },
    password: Password {
        heading: "Change your password",
        intro: "All your other sessions will end. You stay signed in here.",
        forced_heading: "Choose a new password",
        forced_intro: "Somebody else set your password. Choose one that only you know. Then you are signed in.",
        new: "New password",
        new_hint: "At least 8 characters, and not a common password. Several words are a good choice.",
        again: "New password again",
        submit: "Change password",
        back_to_sign_in: "Back to the sign-in page",
        back_to_session: "Back to your session",
        too_short: "This password is too short. Use at least 8 characters.",
        too_long: "This password is too long. Use at most 256 characters.",
        common: "Many people use this password or a similar one, so it is easy to guess. Choose another one, such as several words.",
        unchanged: "This is your current password. Choose another one.",
        differs: "The two new passwords are not the same. Enter both again.",
    },
    reauthenticate: Reauthenticate {
        heading: "Confirm that it is you",
        intro: "To continue, enter your password again.",
        submit: "Confirm",
        not_you: "Not your account? Go to your session",
    },
    errors: Errors {
        for_the_operator: "For the operator of this service:",
        status: "Status",
        missing: ErrorText { title: "You are not signed in", detail: "Sign in to continue." },
        invalid: ErrorText {
            title: "You are not signed in",
            detail: "Your earlier sign-in is not valid here. Sign in to continue.",
        },
        expired: ErrorText {
            title: "Your session has ended",
            detail: "You were signed out automatically after some time. Sign in again to continue.",
        },
        revoked: ErrorText {
            title: "Your session has ended",
            detail: "Your session has ended because you signed out, your account was changed, or the session was used in two places. Sign in again to continue.",
        },
        stale: ErrorText {
            title: "Please try again in a moment",
            detail: "Your session cannot be checked at the moment. You are not signed out.",
        },
        credentials: ErrorText {
            title: "Sign-in failed",
            detail: "The login name or the password is wrong. Try again.",
        },
        wrong_password: ErrorText { title: "Wrong password", detail: "This is not your password. Try again." },
        account_changed: ErrorText {
            title: "Please try again",
            detail: "Your account was changed at the same time. Try again.",
        },
        step_up: ErrorText { title: "Confirm that it is you", detail: "To open this page, enter your password again." },
        role: ErrorText {
            title: "You cannot open this page",
            detail: "Your account does not have the role that this page requires.",
        },
        must_change: ErrorText {
            title: "Choose a new password",
            detail: "Somebody else set your password. Choose a new one before you sign in.",
        },
        throttled: "Too many attempts",
        wait: |amount| format!("There were too many attempts. Wait {amount}, and try again."),
        busy: ErrorText {
            title: "Please try again in a moment",
            detail: "The server is very busy. Try again in a moment.",
        },
        store: ErrorText {
            title: "Please try again in a moment",
            detail: "Your account cannot be read at the moment. Try again in a moment.",
        },
        not_durable: ErrorText {
            title: "Please try again",
            detail: "Your session has ended, but this could not be saved. Try again. Otherwise the session may be valid again after the server restarts.",
        },
        key_elsewhere: ErrorText {
            title: "You are still signed in",
            detail: "This server could not end your session, and nothing was changed. Try again in a moment.",
        },
        no_active_key: ErrorText {
            title: "Nobody can sign in at the moment",
            detail: "This service is not set up completely. Tell its operator.",
        },
        does_not_fit: ErrorText {
            title: "You cannot sign in",
            detail: "Your account has too many roles, or its names are too long. Tell the operator of this service.",
        },
        form: ErrorText {
            title: "This form could not be read",
            detail: "Nothing was changed. Open the page again, and fill in every field.",
        },
        login_name: ErrorText {
            title: "This is not a login name",
            detail: "This is not a login name. A login name begins with a letter or digit. It contains only letters, digits and the characters . _ @ -, and has at most 64 characters.",
        },
        new_password: "This password cannot be used",
        too_large: ErrorText {
            title: "This is too long",
            detail: "You sent more than this server accepts. Nothing was changed.",
        },
        incomplete: ErrorText {
            title: "The connection was interrupted",
            detail: "Your data did not arrive completely. Nothing was changed. Try again.",
        },
        slow: ErrorText {
            title: "This took too long",
            detail: "Your data did not arrive in time. Nothing was changed. Try again.",
        },
        authority: ErrorText {
            title: "This address cannot be opened",
            detail: "The server could not read the address. Check it for a mistake.",
        },
        misdirected: ErrorText {
            title: "This address is not set up",
            detail: "This server does not serve this address. Check it for a mistake.",
        },
        cross_site: ErrorText {
            title: "Request refused",
            detail: "Another site sent this request. Nothing was changed. Open this site yourself, and try again there.",
        },
        form_token: ErrorText {
            title: "This page is out of date",
            detail: "You signed in or out after you opened this page. Nothing was changed. Try again.",
        },
        rule: ErrorText {
            title: "You cannot open this page",
            detail: "The address of this page contains a condition that is not valid. If you did not add anything to the address yourself, tell the operator of this service.",
        },
        forwarded: ErrorText {
            title: "You cannot open this page",
            detail: "This service is not set up correctly. Tell its operator.",
        },
        not_found: ErrorText { title: "There is no such page", detail: "Check the address for a mistake." },
        method: ErrorText {
            title: "This page cannot be opened directly",
            detail: "It only works with a button on another page. Nothing was changed. To sign out, go to your session first.",
        },
        failed: ErrorText {
            title: "Something went wrong",
            detail: "The server could not complete your request. Try again. If that does not help, tell the operator of this service.",
        },
    },
    times: Times {
        amount,
        later: |amount| format!("in {amount}"),
        ago: |amount| format!("{amount} ago"),
        soon: "in less than a minute",
        just_now: "just now",
        instant: |at| format!("{} {} {}, {:02}:{:02} UTC", at.day(), at.month(), at.year(), at.hour(), at.minute()),
    },
};

fn amount(count: u64, unit: Unit) -> String {
    let unit = match unit {
        Unit::Second => "second",
        Unit::Minute => "minute",
        Unit::Hour => "hour",
        Unit::Day => "day",
    };
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{ending}")
}
