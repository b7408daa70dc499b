//! Rows that lead to a person: public ids, addresses and staff roles. Each carries a MAC of the ring, so that a row which somebody
//! moved to another person leads nowhere.

use context::{Role, SubjectId, UserId};
use db::{FromRow, Lookup, Query, sql};
use uuid::Uuid;
use vault::Ring;

/// A person's public id.
#[derive(FromRow)]
pub struct UserRow {
    user_id: Uuid,
    mac: Vec<u8>,
}

/// Where an address leads.
#[derive(FromRow)]
pub struct AddressRow {
    subject_id: Uuid,
    mac: Vec<u8>,
}

/// A staff role.
#[derive(FromRow)]
pub struct RoleRow {
    /// The role's name. Only [`RoleRow::verified`] says whether we gave the role.
    pub role: String,
    mac: Vec<u8>,
}

impl UserRow {
    /// The public id. `None` where the row was not written for this person.
    pub fn verified(self, ring: &Ring, subject: SubjectId) -> Option<UserId> {
        let ours = ring.check_row("users", &[subject.0.as_bytes(), self.user_id.as_bytes()], &self.mac);
        ours.then_some(UserId(self.user_id))
    }
}

impl AddressRow {
    /// The person. `None` where the row was not written for this address.
    pub fn verified(self, ring: &Ring, address: Lookup) -> Option<SubjectId> {
        let ours = ring.check_row("addresses", &[self.subject_id.as_bytes(), &address.0], &self.mac);
        ours.then_some(SubjectId(self.subject_id))
    }
}

impl RoleRow {
    /// The role. `None` where the row was not written for this person.
    pub fn verified(self, ring: &Ring, subject: SubjectId) -> Option<Role> {
        let ours = ring.check_row("staff_roles", &[subject.0.as_bytes(), self.role.as_bytes()], &self.mac);
        Role::parse(&self.role).filter(|_| ours)
    }
}

/// Gives a person their public id.
pub fn user_insert(ring: &Ring, subject: SubjectId, user: UserId) -> Query {
    let mac = ring.row_mac("users", &[subject.0.as_bytes(), user.0.as_bytes()]);
    Query::new("-- user_insert\nINSERT INTO auth.users (subject_id, user_id, mac) VALUES ($1, $2, $3)")
        .bind(subject.0)
        .bind(user.0)
        .bind(mac.to_vec())
}

/// A person's public id.
pub fn user_get(subject: SubjectId) -> Query {
    Query::new(sql!("-- user_get\nSELECT ", UserRow::COLUMNS, " FROM auth.users WHERE subject_id = $1")).bind(subject.0)
}

/// Files a person under an address, hashed under a version of the ring's pepper.
pub fn address_insert(ring: &Ring, subject: SubjectId, address: Lookup, pepper: i32) -> Query {
    let mac = ring.row_mac("addresses", &[subject.0.as_bytes(), &address.0]);
    Query::new(
        "-- address_insert
        INSERT INTO auth.addresses (subject_id, address_hash, pepper_version, mac) VALUES ($1, $2, $3, $4)",
    )
    .bind(subject.0)
    .bind(address.0.to_vec())
    .bind(pepper)
    .bind(mac.to_vec())
}

/// Where an address leads.
pub fn address_get(address: Lookup) -> Query {
    Query::new(sql!("-- address_get\nSELECT ", AddressRow::COLUMNS, " FROM auth.addresses WHERE address_hash = $1"))
        .bind(address.0.to_vec())
}

/// Gives a person a staff role. No row where they have it.
pub fn role_add(ring: &Ring, subject: SubjectId, role: Role) -> Query {
    let mac = ring.row_mac("staff_roles", &[subject.0.as_bytes(), role.as_str().as_bytes()]);
    Query::new(
        "-- role_add
        INSERT INTO auth.staff_roles (subject_id, role, mac) VALUES ($1, $2, $3)
        ON CONFLICT DO NOTHING RETURNING true",
    )
    .bind(subject.0)
    .bind(role.as_str())
    .bind(mac.to_vec())
}

/// Takes a staff role from a person.
pub fn role_remove(subject: SubjectId, role: Role) -> Query {
    Query::new("-- role_remove\nDELETE FROM auth.staff_roles WHERE subject_id = $1 AND role = $2")
        .bind(subject.0)
        .bind(role.as_str())
}

/// A person's staff roles.
pub fn roles_get(subject: SubjectId) -> Query {
    Query::new(sql!(
        "-- roles_get\nSELECT ",
        RoleRow::COLUMNS,
        " FROM auth.staff_roles WHERE subject_id = $1 ORDER BY role"
    ))
    .bind(subject.0)
}
