//! Accounts in SQLite. A change that ends sessions raises the account's generation and writes the revocation in one transaction.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Store, signed, unsigned};
use crate::account::{DisplayName, Email, LoginName, Profile, Roles};
use crate::clock::UnixTime;
use crate::store::{Account, Change, PasswordChanged, Revoke, StoreError};

impl Store {
    /// Adds an account; see [`Change::Password`] for what goes with the hash.
    pub(crate) async fn add_account(
        &self,
        sub: &str,
        profile: &Profile,
        password_hash: &str,
        must_change: bool,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let added = sqlx::query(
            "INSERT INTO account
             (sub, login_name, display_name, email, roles, password_hash, must_change, disabled, generation, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, 0, 1, ?)",
        )
        .bind(sub)
        .bind(profile.login_name.as_str())
        .bind(profile.display_name.as_str())
        .bind(profile.email.as_str())
        .bind(profile.roles.as_str())
        .bind(password_hash)
        .bind(must_change)
        .bind(signed(now.0))
        .execute(&self.write)
        .await;
        match added {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                Err(StoreError::NameTaken(profile.login_name.to_string()))
            }
            outcome => Ok(outcome.map(drop)?),
        }
    }

    /// The account of this name, if there is one.
    pub(crate) async fn account(&self, name: &LoginName) -> Result<Option<Account>, StoreError> {
        let query = sqlx::query("SELECT * FROM account WHERE login_name = ?").bind(name.as_str());
        query.fetch_optional(&self.read).await?.as_ref().map(account).transpose()
    }

    /// The account of this name; fails if there is none.
    pub(crate) async fn require(&self, name: &LoginName) -> Result<Account, StoreError> {
        self.account(name).await?.ok_or_else(|| StoreError::NoSuchAccount(name.to_string()))
    }

    /// All accounts, by name.
    pub(crate) async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let rows = sqlx::query("SELECT * FROM account ORDER BY login_name").fetch_all(&self.read).await?;
        rows.iter().map(account).collect()
    }

    /// Whether there is an account at all.
    pub(crate) async fn has_accounts(&self) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM account)").fetch_one(&self.read).await?)
    }

    /// Changes an account; see [`Change`].
    pub(crate) async fn change_account(
        &self,
        name: &LoginName,
        change: &Change,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let query = sqlx::query_as("SELECT sub, generation FROM account WHERE login_name = ?").bind(name.as_str());
        let found: Option<(String, i64)> = query.fetch_optional(&mut *transaction.connection).await?;
        let (sub, generation) = found.ok_or_else(|| StoreError::NoSuchAccount(name.to_string()))?;
        if !matches!(change, Change::Enable) {
            let below = unsigned(generation)? + 1;
            let end = Revoke::Subject { sub: sub.as_str().into(), below };
            super::revocations::write(&mut transaction.connection, &[end], now).await?;
        }
        apply(&mut transaction.connection, &sub, change).await?;
        transaction.commit().await
    }

    /// Replaces the password of an account that is as it was read, and ends all its sessions.
    pub(crate) async fn change_own_password(
        &self,
        account: &Account,
        hash: &str,
        now: UnixTime,
    ) -> Result<PasswordChanged, StoreError> {
        let mut transaction = self.begin().await?;
        let query = sqlx::query_scalar("SELECT generation FROM account WHERE sub = ? AND disabled = 0");
        let found: Option<i64> = query.bind(&account.sub).fetch_optional(&mut *transaction.connection).await?;
        if found.map(unsigned).transpose()? != Some(account.generation) {
            return Err(StoreError::NoSuchAccount(account.profile.login_name.to_string()));
        }
        let generation = account.generation + 1;
        let end = Revoke::Subject { sub: account.sub.as_str().into(), below: generation };
        let ended = super::revocations::write(&mut transaction.connection, &[end], now).await?;
        apply(
            &mut transaction.connection,
            &account.sub,
            &Change::Password { hash: hash.to_owned(), must_change: false },
        )
        .await?;
        transaction.commit().await?;
        Ok(PasswordChanged { generation, ended: ended.into_iter().next().expect("one entry for the one refusal") })
    }

    /// Replaces a password's hash by one of the same password, if it is still the same. Sessions live on.
    pub(crate) async fn rehash(&self, sub: &str, old: &str, new: &str) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE account SET password_hash = ? WHERE sub = ? AND password_hash = ?");
        query.bind(new).bind(sub).bind(old).execute(&self.write).await?;
        Ok(())
    }
}

async fn apply(transaction: &mut SqliteConnection, sub: &str, change: &Change) -> Result<(), StoreError> {
    let query = match change {
        Change::Password { hash, must_change } => {
            sqlx::query("UPDATE account SET password_hash = ?, must_change = ? WHERE sub = ?")
                .bind(hash)
                .bind(must_change)
        }
        Change::Roles(roles) => sqlx::query("UPDATE account SET roles = ? WHERE sub = ?").bind(roles.as_str()),
        Change::Disable => sqlx::query("UPDATE account SET disabled = 1 WHERE sub = ?"),
        Change::Enable => sqlx::query("UPDATE account SET disabled = 0 WHERE sub = ?"),
        Change::Delete => sqlx::query("DELETE FROM account WHERE sub = ?"),
        Change::EndSessions => return Ok(()),
    };
    query.bind(sub).execute(&mut *transaction).await?;
    Ok(())
}

fn account(row: &SqliteRow) -> Result<Account, StoreError> {
    const CORRUPT: StoreError = StoreError::Corrupt("a name, address or role of an account breaks its rule");
    let text = |column: &'static str| row.try_get::<String, _>(column);
    let roles: Vec<String> = text("roles")?.split(',').filter(|role| !role.is_empty()).map(str::to_owned).collect();
    let profile = Profile {
        login_name: text("login_name")?.parse::<LoginName>().map_err(|_| CORRUPT)?,
        display_name: text("display_name")?.parse::<DisplayName>().map_err(|_| CORRUPT)?,
        email: text("email")?.parse::<Email>().map_err(|_| CORRUPT)?,
        roles: Roles::new(&roles).map_err(|_| CORRUPT)?,
    };
    Ok(Account {
        sub: text("sub")?,
        profile,
        password_hash: text("password_hash")?,
        disabled: row.try_get("disabled")?,
        must_change: row.try_get("must_change")?,
        generation: unsigned(row.try_get("generation")?)?,
        created_at: UnixTime(unsigned(row.try_get("created_at")?)?),
    })
}
