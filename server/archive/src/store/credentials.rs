//! [`CredentialsFile`]: credentials of S3 from a file, read again when the file changes.
//!
//! ```text
//! [default]
//! aws_access_key_id = …
//! aws_secret_access_key = …
//! aws_session_token = …        (optional)
//! ```

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file with credentials, and what was read from it.
#[derive(Debug)]
pub(super) struct CredentialsFile {
    path: PathBuf,
    profile: String,
    last: Mutex<Option<(SystemTime, Arc<AwsCredential>)>>,
}

impl CredentialsFile {
    pub(super) fn new(path: PathBuf, profile: String) -> CredentialsFile {
        CredentialsFile { path, profile, last: Mutex::new(None) }
    }

    fn read(&self) -> Result<Arc<AwsCredential>, String> {
        let about = |why: String| format!("{}: {why}", self.path.display());
        let metadata = std::fs::metadata(&self.path).map_err(|e| about(e.to_string()))?;
        let modified = metadata.modified().map_err(|e| about(e.to_string()))?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, credential)) = &*last
            && *at == modified
        {
            return Ok(credential.clone());
        }
        if metadata.len() > FILE_BYTES_MAX {
            return Err(about(format!("longer than {FILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(&self.path).map_err(|e| about(e.to_string()))?;
        let credential = Arc::new(parse(&text, &self.profile).map_err(about)?);
        *last = Some((modified, credential.clone()));
        Ok(credential)
    }
}

#[async_trait]
impl CredentialProvider for CredentialsFile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.read().map_err(|why| object_store::Error::Unauthenticated {
            path: self.path.display().to_string(),
            source: why.into(),
        })
    }
}

/// The credential of a profile. A message never contains a value of the file.
fn parse(text: &str, profile: &str) -> Result<AwsCredential, String> {
    let mut is_ours = false;
    let (mut found, mut key_id, mut secret_key, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_ours = section.trim() == profile;
            found |= is_ours;
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        if !is_ours || key.starts_with(['#', ';']) {
            continue;
        }
        let value = Some(value.trim().to_owned());
        match key.trim() {
            "aws_access_key_id" => key_id = value,
            "aws_secret_access_key" => secret_key = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    let missing = |what: &str| match found {
        true => format!("the profile [{profile}] has no {what}"),
        false => format!("there is no profile [{profile}]"),
    };
    Ok(AwsCredential {
        key_id: key_id.ok_or_else(|| missing("aws_access_key_id"))?,
        secret_key: secret_key.ok_or_else(|| missing("aws_secret_access_key"))?,
        token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# a comment
[other]
aws_access_key_id = no
[default]
aws_access_key_id=AKIA
# aws_access_key_id = commented
aws_secret_access_key = a=b+c/
region = eu-west-1
";

    #[test]
    fn credential_of_a_profile_is_read() {
        let credential = parse(FILE, "default").expect("complete");
        assert_eq!(credential.key_id, "AKIA");
        assert_eq!(credential.secret_key, "a=b+c/");
        assert_eq!(credential.token, None);
    }

    #[test]
    fn incomplete_profiles_are_named_without_their_values() {
        let check = |profile: &str, expected: &str| {
            assert_eq!(parse(FILE, profile).err().as_deref(), Some(expected));
        };
        check("other", "the profile [other] has no aws_secret_access_key");
        check("absent", "there is no profile [absent]");
    }

    #[test]
    fn changed_file_is_read_again() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("credentials");
        std::fs::write(&path, FILE).expect("write");
        let file = CredentialsFile::new(path.clone(), "default".to_owned());
        assert_eq!(file.read().expect("readable").key_id, "AKIA");

        std::fs::write(&path, FILE.replace("AKIA", "ASIA")).expect("write");
        let later = SystemTime::now() + std::time::Duration::from_secs(10);
        let changed = std::fs::File::options().write(true).open(&path).expect("open");
        changed.set_modified(later).expect("set the time");
        assert_eq!(file.read().expect("readable").key_id, "ASIA");

        std::fs::remove_file(&path).expect("remove");
        assert!(file.read().is_err());
    }
}
