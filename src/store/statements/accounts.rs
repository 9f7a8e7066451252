//! Statements on accounts. A change that ends sessions raises the account's generation and writes the revocation in one
//! transaction.

/// Selects the columns that this version of Sealjar uses. It names them, because a newer version of the program may add
/// columns to the table while this version is running.
macro_rules! select_accounts {
    ($clauses:literal) => {
        sqlx::query(concat!(
            "SELECT sub, login_name, display_name, email, roles, password_hash, must_change, disabled, generation,
                    created_at
             FROM account ",
            $clauses
        ))
    };
}

/// Implements methods that read and change accounts, for an engine. The arguments are the engine's types of the store, of the
/// connection and of a row.
macro_rules! impl_accounts {
    ($store:ident, $connection:ty, $row:ty) => {
        impl $store {
            /// Adds one account. Fails if its login name is taken.
            pub(crate) async fn add_account(&self, account: &Account) -> Result<(), StoreError> {
                let Account { sub, profile, password_hash, disabled, must_change, generation, created_at } = account;
                let mut transaction = self.begin().await?;
                let added = sqlx::query(
                    "INSERT INTO account
                     (sub, login_name, display_name, email, roles, password_hash, must_change, disabled, generation, created_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                )
                .bind(sub)
                .bind(profile.login_name.as_str())
                .bind(profile.display_name.as_str())
                .bind(profile.email.as_str())
                .bind(profile.roles.as_str())
                .bind(password_hash)
                .bind(must_change)
                .bind(disabled)
                .bind(signed(*generation))
                .bind(signed(created_at.0))
                .execute(&mut *transaction.connection)
                .await;
                match added {
                    Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                        Err(StoreError::NameTaken(profile.login_name.to_string()))
                    }
                    Err(error) => Err(error.into()),
                    Ok(_) => transaction.commit().await,
                }
            }

            /// Adds all these accounts, or none of them if one cannot be added.
            pub(crate) async fn import(&self, accounts: &[Account]) -> Result<(), StoreError> {
                let mut transaction = self.begin().await?;
                for batch in accounts.chunks(MAX_ACCOUNTS) {
                    match transaction.add_accounts(batch).await {
                        Err(StoreError::Failed(sqlx::Error::Database(error))) if error.is_unique_violation() => {
                            return Err(StoreError::AddedMeanwhile);
                        }
                        outcome => outcome?,
                    }
                }
                transaction.commit().await
            }

            /// Returns the account with this login name.
            pub(crate) async fn account(&self, name: &LoginName) -> Result<Option<Account>, StoreError> {
                let mut reader = self.reading().await?;
                let query = select_accounts!("WHERE login_name = $1").bind(name.as_str());
                let row = query.fetch_optional(&mut *reader.connection).await?;
                reader.finish();
                row.as_ref().map(account).transpose()
            }

            /// Returns all accounts, sorted by login name.
            pub(crate) async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
                let mut reader = self.reading().await?;
                let query = select_accounts!("ORDER BY login_name");
                let rows = query.fetch_all(&mut *reader.connection).await?;
                reader.finish();
                rows.iter().map(account).collect()
            }

            /// Returns whether the store has at least one account.
            pub(crate) async fn has_accounts(&self) -> Result<bool, StoreError> {
                let mut reader = self.reading().await?;
                let query = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM account)");
                let has_accounts = query.fetch_one(&mut *reader.connection).await?;
                reader.finish();
                Ok(has_accounts)
            }

            /// Makes a change to an account. Every change except `Change::Enable` also ends all sessions of the account. If the
            /// change is already in force, nothing is written.
            pub(crate) async fn change_account(
                &self,
                name: &LoginName,
                change: &Change,
                now: UnixTime,
            ) -> Result<AccountChanged, StoreError> {
                let mut transaction = self.begin().await?;
                let query = sqlx::query_as("SELECT sub, generation, roles, disabled FROM account WHERE login_name = $1");
                let row = query.bind(name.as_str()).fetch_optional(&mut *transaction.connection).await?;
                let (sub, generation, roles, disabled): (String, i64, String, bool) =
                    row.ok_or_else(|| StoreError::NoSuchAccount(name.to_string()))?;
                if change.is_in_force(&roles, disabled) {
                    transaction.commit().await?;
                    return Ok(AccountChanged { sub, is_different: false });
                }
                if !matches!(change, Change::Enable) {
                    let below = unsigned(generation)? + 1;
                    let revocation = Revocation::Subject { sub: sub.as_str().into(), below };
                    revocations::write(&mut transaction.connection, &[revocation], now).await?;
                }
                apply(&mut transaction.connection, &sub, change).await?;
                transaction.commit().await?;
                Ok(AccountChanged { sub, is_different: true })
            }

            /// Changes the names or the email address of an account, and ends all its sessions. If nothing differs, nothing is
            /// written.
            pub(crate) async fn change_profile(
                &self,
                name: &LoginName,
                change: &ProfileChange,
                now: UnixTime,
            ) -> Result<ProfileChanged, StoreError> {
                let mut transaction = self.begin().await?;
                let query = select_accounts!("WHERE login_name = $1").bind(name.as_str());
                let row = query.fetch_optional(&mut *transaction.connection).await?;
                let row = row.ok_or_else(|| StoreError::NoSuchAccount(name.to_string()))?;
                let Account { sub, profile: before, generation, .. } = account(&row)?;
                let after = change.applied_to(&before);
                if after == before {
                    transaction.commit().await?;
                    return Ok(ProfileChanged { sub, before, after });
                }
                let revocation = Revocation::Subject { sub: sub.as_str().into(), below: generation + 1 };
                revocations::write(&mut transaction.connection, &[revocation], now).await?;
                let query = sqlx::query(
                    "UPDATE account SET login_name = $2, display_name = $3, email = $4 WHERE sub = $1",
                );
                let query = query.bind(&sub).bind(after.login_name.as_str());
                let query = query.bind(after.display_name.as_str()).bind(after.email.as_str());
                match query.execute(&mut *transaction.connection).await {
                    Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                        return Err(StoreError::NameTaken(after.login_name.to_string()));
                    }
                    outcome => outcome?,
                };
                transaction.commit().await?;
                Ok(ProfileChanged { sub, before, after })
            }

            /// Replaces the password hash of an account and ends all its sessions. Fails if the account was disabled, deleted or
            /// changed since it was read.
            pub(crate) async fn change_own_password(
                &self,
                account: &Account,
                hash: &str,
                now: UnixTime,
            ) -> Result<PasswordChanged, StoreError> {
                let mut transaction = self.begin().await?;
                let query = sqlx::query_scalar("SELECT generation FROM account WHERE sub = $1 AND NOT disabled");
                let current: Option<i64> = query.bind(&account.sub).fetch_optional(&mut *transaction.connection).await?;
                // The generation grows with each change that ends sessions.
                if current.map(unsigned).transpose()? != Some(account.generation) {
                    return Err(StoreError::NoSuchAccount(account.profile.login_name.to_string()));
                }
                let generation = account.generation + 1;
                let revocation = Revocation::Subject { sub: account.sub.as_str().into(), below: generation };
                let entries = revocations::write(&mut transaction.connection, &[revocation], now).await?;
                let change = Change::Password { hash: hash.to_owned(), must_change: false };
                apply(&mut transaction.connection, &account.sub, &change).await?;
                transaction.commit().await?;
                let ended = entries.into_iter().next().expect("`write` returns one revocation was each entry");
                Ok(PasswordChanged { generation, ended })
            }

            /// Replaces the hash `old` of an account by `new`, which is a hash of the same password.
            /// Does nothing if the stored hash is no longer `old`.
            pub(crate) async fn rehash(&self, sub: &str, old: &str, new: &str) -> Result<(), StoreError> {
                let mut transaction = self.begin().await?;
                let query = sqlx::query("UPDATE account SET password_hash = $1 WHERE sub = $2 AND password_hash = $3");
                query.bind(new).bind(sub).bind(old).execute(&mut *transaction.connection).await?;
                transaction.commit().await
            }
        }

        /// Updates the columns of an account, or deletes the account. Does not end sessions.
        async fn apply(connection: &mut $connection, sub: &str, change: &Change) -> Result<(), StoreError> {
            let query = match change {
                Change::Password { hash, must_change } => {
                    sqlx::query("UPDATE account SET password_hash = $2, must_change = $3 WHERE sub = $1")
                        .bind(sub)
                        .bind(hash)
                        .bind(must_change)
                }
                Change::Roles(roles) => {
                    sqlx::query("UPDATE account SET roles = $2 WHERE sub = $1").bind(sub).bind(roles.as_str())
                }
                Change::Disable => sqlx::query("UPDATE account SET disabled = TRUE WHERE sub = $1").bind(sub),
                Change::Enable => sqlx::query("UPDATE account SET disabled = FALSE WHERE sub = $1").bind(sub),
                Change::Delete => sqlx::query("DELETE FROM account WHERE sub = $1").bind(sub),
                Change::EndSessions => return Ok(()),
            };
            query.execute(&mut *connection).await?;
            Ok(())
        }

        /// Decodes a row of the table `account`.
        fn account(row: &$row) -> Result<Account, StoreError> {
            const CORRUPT: StoreError = StoreError::Corrupt("invalid name, email address or role of an account");
            let text = |column: &'static str| row.try_get::<String, _>(column);
            let roles: Vec<String> =
                text("roles")?.split(',').filter(|role| !role.is_empty()).map(str::to_owned).collect();
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
    };
}

pub(in crate::store) use impl_accounts;
pub(in crate::store) use select_accounts;
