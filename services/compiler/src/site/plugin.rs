//! The bundler's view of a project: its own modules by their ids, and the files of packages.

use std::{borrow::Cow, sync::Arc};

use rolldown_common::{ModuleType, side_effects::HookSideEffects};
use rolldown_plugin::{
    HookLoadArgs, HookLoadOutput, HookLoadReturn, HookResolveIdArgs, HookResolveIdOutput, HookResolveIdReturn, HookUsage, Plugin,
    PluginContext, SharedLoadPluginContext,
};

use super::modules::{Destination, Modules, OWN};
use crate::packages::Packages;

#[derive(Debug)]
pub(super) struct SitePlugin {
    pub(super) packages: Packages,
    pub(super) modules: Arc<Modules>,
}

impl Plugin for SitePlugin {
    fn name(&self) -> Cow<'static, str> {
        "site".into()
    }

    fn register_hook_usage(&self) -> HookUsage {
        self.packages.register_hook_usage()
    }

    async fn resolve_id(&self, context: &PluginContext, args: &HookResolveIdArgs<'_>) -> HookResolveIdReturn {
        if args.specifier.starts_with(OWN) {
            return Ok(Some(HookResolveIdOutput::from_id(args.specifier)));
        }
        let importer = args.importer.and_then(|importer| self.modules.by_id.get(importer));
        match importer.and_then(|importer| importer.targets.get(args.specifier)) {
            Some(Destination::Own(id)) => Ok(Some(HookResolveIdOutput::from_id(id.as_str()))),
            Some(Destination::Package) => Ok(Some(self.packages.resolve("", args.specifier, args.kind))),
            None => self.packages.resolve_id(context, args).await,
        }
    }

    async fn load(&self, context: SharedLoadPluginContext, args: &HookLoadArgs<'_>) -> HookLoadReturn {
        let Some(module) = self.modules.by_id.get(args.id) else { return self.packages.load(context, args).await };
        // The sheet of a module that is not used counts.
        let side_effects = module.sheet.is_some().then_some(HookSideEffects::NoTreeshake);
        let code = module.code.as_str().into();
        Ok(Some(HookLoadOutput { code, side_effects, module_type: Some(ModuleType::Js), ..HookLoadOutput::default() }))
    }
}
