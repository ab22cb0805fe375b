//! The way back with plain tools, for the day when this one is not at hand.
use super::Source;
use crate::archive::codec::Codec;
use crate::words::word;
use std::path::Path;

/// Shell lines that check an archive and unpack it into `to` with `sha256sum`, `gpg`, `zstd` and `tar`; `variable`
/// is the one that holds the passphrase, and `fetch` a line that brings it here from another machine.
pub fn recipe(source: &Source, fetch: Option<&str>, to: &Path, variable: Option<&str>) -> Vec<String> {
    let folder = source.archive.parent().unwrap_or(Path::new("."));
    let name = quote(Path::new(source.archive.file_name().unwrap_or_default()));
    let mut lines = vec![fetch.map_or_else(|| format!("cd {}", quote(folder)), str::to_owned)];
    if let Some(marker) = &source.marker {
        let bare = quote(Path::new(marker.file_name().unwrap_or_default()));
        let ignore = if bare == "SHA256SUMS" { " --ignore-missing" } else { "" };
        // A path in it leads to where the archive once lay.
        let elsewhere = source.read_marker().ok().flatten().is_some_and(|(_, odd)| !odd.is_empty());
        lines.push(match elsewhere {
            true => format!("sed 's|  .*/|  |' {bare} | sha256sum --check"),
            false => format!("sha256sum --check{ignore} {bare}"),
        });
    }
    let to = quote(to);
    lines.push(format!("mkdir -p {to}"));
    let decrypt = match (source.encrypted, variable) {
        (false, _) => None,
        (true, Some(variable)) => Some(format!(
            "printf '%s\\n' \"${variable}\" | gpg --batch --pinentry-mode loopback --passphrase-fd 0 --decrypt {name}"
        )),
        (true, None) => Some(format!("gpg --decrypt {name}")),
    };
    lines.push(match (decrypt, source.codec) {
        (None, Codec::Gzip) => format!("tar -xzpf {name} -C {to}"),
        (None, Codec::Zstd) => format!("zstd -dc {name} | tar -xpf - -C {to}"),
        (Some(gpg), Codec::Gzip) => format!("{gpg} | tar -xzpf - -C {to}"),
        (Some(gpg), Codec::Zstd) => format!("{gpg} | zstd -dc | tar -xpf - -C {to}"),
    });
    lines
}

/// A path as a word that no tool takes for an option.
fn quote(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.starts_with('-') { word(&format!("./{text}")) } else { word(&text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_option() {
        assert_eq!(quote(Path::new("-a b.tar.gz")), "'./-a b.tar.gz'");
        assert_eq!(quote(Path::new("/srv/-a")), "/srv/-a");
    }
}
