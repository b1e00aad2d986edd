"""The lab: experiments that show what a technique really does, one command each.

    trimtab lab                     which there are
    trimtab lab show wd_is_lr       the claim, its source, the setting, what a pass is
    trimtab lab run wd_is_lr        trains, draws the figure, and says whether the claims hold

An experiment is a file of `trimtab.lab.experiments`. The other files are what they share: `experiment` says
what one consists of, `runner` carries out its runs and `store` keeps them, `report` presents the results.
"""
