-- Packages that an operator keeps for machines without a registry. This table is no cache: nothing deletes its rows.

-- A version with its document. A version that is only resolved, and of which no page can import files, has no tarball. `sha512` is the
-- hash of the tarball in hexadecimal digits. The tarball is compressed already.
create table vendored_packages (
    name     text        not null,
    version  text        not null,
    tags     text[]      not null,
    document bytea       not null,
    sha512   text,
    tarball  bytea,
    added_at timestamptz not null,
    constraint vendored_packages_name_version_key primary key (name, version),
    constraint vendored_packages_tarball_check check ((sha512 is null) = (tarball is null))
);
alter table vendored_packages alter column tarball set storage external;
