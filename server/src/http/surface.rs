//! [`Surface`]: the part of the API that a listening socket serves.

use super::route::Resource;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    /// Everything.
    Whole,
    /// Everything except metrics, which another socket serves.
    WithoutMetrics,
    /// Metrics, health and the version.
    Admin,
}

impl Surface {
    /// Why a resource is not served; `None` if it is.
    pub(super) fn lacks(self, resource: Resource) -> Option<&'static str> {
        use Resource as R;
        let is_health = matches!(resource, R::Live | R::Ready | R::Version);
        match self {
            Surface::Whole => None,
            Surface::WithoutMetrics if resource == R::Metrics => {
                Some("this server has an admin_address for metrics; ask that address")
            }
            Surface::WithoutMetrics => None,
            Surface::Admin if is_health || resource == R::Metrics => None,
            Surface::Admin => Some(
                "this is the admin_address, which serves /metrics, /health/live, /health/ready \
                 and /version; use a bind_address for everything else",
            ),
        }
    }
}
